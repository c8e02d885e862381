import type { z } from 'zod'
import type { ContainerState, container } from '../commands/container.ts'
import { type ImageState, image } from '../commands/image.ts'
import { snapshot, snapshotId } from '../commands/snapshot.ts'
import { PurserError } from '../model/errors.ts'
import { chainIdOf } from '../oci/chain-id.ts'
import type { Saga } from './define.ts'
import { requireTrust } from './trusted-image.ts'

export type ProvisionRequest = z.output<(typeof container.commands)['container.provision']>
export type ProvisionSaga = Saga<ContainerState, ProvisionRequest>
type PresentImage = Extract<ImageState, { status: 'present' }>

/**
 * An image that is present and unpacked, pulled where it is not.
 *
 * @param suffix of the names of its steps, for an image besides the container's own
 */
export async function unpackedImage(saga: ProvisionSaga, name: string, suffix = ''): Promise<PresentImage> {
  const { namespace, payload } = saga
  const { snapshotter } = payload
  await pullImage(saga, `pull${suffix}`, { ...payload, image: name }, saga.signal)
  const found = saga.view.get(image, namespace, name)
  if (found.status === 'absent') {
    throw new PurserError('not_found', `image ${name} is not in namespace ${namespace}`, {
      remedy: `purser pull ${name}`,
    })
  }
  await requireTrust(saga, name, found, `verify${suffix}`)
  const top = snapshotId(snapshotter, chainIdOf(found.layers.map((layer) => layer.diffId)))
  if (saga.view.get(snapshot, namespace, top).status !== 'committed') {
    await saga.step(`unpack${suffix}`, { type: 'snapshot.unpack', subject: top, payload: { image: name } })
  }
  return found
}

/** Has an image pulled where it is wanted anew, or is not there. @returns whether it was pulled */
export async function pullImage(
  saga: Saga<unknown, unknown>,
  step: string,
  {
    image: subject,
    snapshotter,
    platform,
    pull,
  }: Pick<ProvisionRequest, 'image' | 'snapshotter' | 'platform' | 'pull'>,
  signal: AbortSignal,
): Promise<boolean> {
  const isHere = saga.view.get(image, saga.namespace, subject).status !== 'absent'
  if (pull === 'never' || (isHere && pull === 'missing')) return false
  const payload = { snapshotter, ...(platform === undefined ? {} : { platform }) }
  await saga.step(step, { type: 'image.pull', subject, payload }, signal)
  return true
}
