import { container } from '../../commands/container.ts'
import { byteString } from '../../host/byte-paths.ts'
import { copyIn } from '../../layers/copy/copy.ts'
import { defineTaskHandler } from './effects.ts'

/** Done again after a restart, it writes the same files once more. */
export const copyIntoContainer = defineTaskHandler(container, 'container.copy', async (job) => {
  const { id, namespace, payload, effects, signal } = job
  job.decide()
  using upload = await effects.uploads.use(payload.ingest, signal)
  const { fd, covered, release } = await effects.roots.open(namespace, id, 'write', signal)
  const { path, owner } = payload
  const target = {
    owner: owner === 'root' ? { uid: 0, gid: 0 } : ('as-archived' as const),
    privileges: 'keep' as const,
    xattrs: 'all' as const,
  }
  const place = { root: fd, covered, path: byteString(path), last: 'follow' as const }
  const { entries, bytes } = await copyIn({ ...place, archive: upload.path, target }, release, signal)
  return { facts: [container.fact(id, 'container.copied', { path, entries, bytes })], result: { entries, bytes } }
})
