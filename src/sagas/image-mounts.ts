import type { ContainerRecord, ContainerState } from '../commands/container.ts'
import { snapshot, snapshotId } from '../commands/snapshot.ts'
import { chainIdOf } from '../oci/chain-id.ts'
import { type Saga, undoStep } from './define.ts'
import { type ProvisionSaga, unpackedImage } from './unpacked-image.ts'

type ImageMounts = NonNullable<ContainerRecord['imageMounts']>

/** Images whose files are mounted, each present and unpacked, with a view of it that keeps it for as long as the container is. */
export async function viewImages(saga: ProvisionSaga, undo: AsyncDisposableStack): Promise<ImageMounts | undefined> {
  const { id, payload } = saga
  const { options, snapshotter } = payload
  if (options.imageMounts === undefined) return undefined
  const views: ImageMounts = []
  for (const [index, { image }] of options.imageMounts.entries()) {
    const found = await unpackedImage(saga, image, `-${index}`)
    const snapshotKey = `${id}--image-${index}`
    const subject = snapshotId(snapshotter, snapshotKey)
    const parent = chainIdOf(found.layers.map((layer) => layer.diffId))
    undoStep(saga, undo, `undo-view-${index}`, { type: 'snapshot.remove', subject })
    await saga.step(`view-${index}`, { type: 'snapshot.view', subject, payload: { parent } })
    views.push({ manifest: found.manifest.digest, snapshotKey })
  }
  return views
}

/** Once no task of the container mounts them any more. */
export async function removeViews(saga: Saga<ContainerState, unknown>): Promise<void> {
  const { namespace, state: record } = saga
  if (record.status === 'absent') return
  for (const [index, { snapshotKey }] of (record.imageMounts ?? []).entries()) {
    const subject = snapshotId(record.snapshotter, snapshotKey)
    if (saga.view.get(snapshot, namespace, subject).status === 'absent') continue
    await saga.step(`remove-view-${index}`, { type: 'snapshot.remove', subject })
  }
}
