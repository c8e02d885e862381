import { type ImageState, image } from '../../commands/image.ts'
import { dirOf, parentDirs, snapshot, snapshotId } from '../../commands/snapshot.ts'
import { PurserError } from '../../model/errors.ts'
import { uuidv7 } from '../../model/ids.ts'
import { chainIds } from '../../oci/chain-id.ts'
import { extractAlone, extractOnParents, joinLayer } from '../../unpack/unpack-layers.ts'
import { unpackedBytes } from '../../unpack/unpacked-bytes.ts'
import { defineSnapshotHandler } from './effects.ts'
import { snapshotterOf } from './snapshotter-of.ts'

/** Makes snapshots of the layers of an image whose blobs are here: for another snapshotter, or after theirs were removed. */
export const unpackSnapshot = defineSnapshotHandler(snapshot, 'snapshot.unpack', async (job) => {
  const { effects, view, namespace, signal } = job
  const { snapshotter } = snapshotterOf(effects.snapshotters, job.id)
  const name = job.payload.image
  const found: ImageState = view.get(image, namespace, name)
  if (found.status === 'absent') {
    throw new PurserError('not_found', `image ${name} is not in namespace ${namespace}`, {
      remedy: `purser pull ${name}`,
    })
  }
  const unpacker = { pool: effects.layers, snapshotter, runDir: effects.runDir }
  const chain = chainIds(found.layers.map((layer) => layer.diffId))
  const isThere = (index: number) =>
    view.get(snapshot, namespace, snapshotId(snapshotter.name, chain[index] ?? '')).status === 'committed'
  const bytes = unpackedBytes(snapshotter.name, found.layers)
  const rooms = await effects.disk.reserve(
    `unpacking ${name}`,
    bytes.map((each, index) => (isThere(index) ? 0 : each)),
  )
  using reserved = new DisposableStack()
  for (const room of rooms) reserved.use(room)
  for (const [index, { digest, diffId, sizeBytes }] of found.layers.entries()) {
    if (isThere(index)) continue
    const id = snapshotId(snapshotter.name, chain[index] ?? '')
    const parent = chain[index - 1]
    const parents = parentDirs(view, namespace, snapshotter.name, parent)
    const layer = { digest, diffId, sizeBytes, path: effects.content.path(digest), room: rooms[index] }
    if (!(await effects.content.stat(digest))) {
      throw new PurserError('not_found', `layer ${digest} of ${name} is not in the content store`, {
        remedy: `purser pull ${name} brings it again`,
      })
    }
    const dir = dirOf(uuidv7())
    await using undo = job.undoStack()
    undo.defer(() => snapshotter.remove(dir, AbortSignal.timeout(60_000)))
    if (snapshotter.layerTarget(dir).placement === 'alone') {
      const position = index === 0 ? 'bottom' : 'above'
      const alone = await extractAlone(unpacker, layer, dir, position, signal)
      await joinLayer(unpacker, layer, dir, alone, parents, layer.path, signal)
    } else await extractOnParents(unpacker, layer, dir, parents, signal)
    undo.move()
    await job.append(snapshot.fact(id, 'snapshot.committed', { dir, labels: {}, parent }))
  }
  return { facts: [image.fact(name, 'image.unpacked', { snapshotter: snapshotter.name })] }
})
