import { type ImageState, image } from '../../commands/image.ts'
import { PurserError } from '../../model/errors.ts'
import { parsePlatform } from '../../oci/platform.ts'
import { definePullHandler } from './effects.ts'
import { blobsOf, documentsOf, manifestsOf, presentOf } from './present.ts'

/** What is exported is said here, under the name of whoever asked; the bytes go past the log, see ImageArchives. */
export const exportImage = definePullHandler(image, 'image.export', async (job) => {
  const { effects, payload, view, namespace, id } = job
  job.decide()
  const platform = payload.platform === undefined ? undefined : parsePlatform(payload.platform)
  const facts = []
  const images = []
  for (const name of new Set([id, ...payload.also])) {
    const state: ImageState = view.get(image, namespace, name)
    if (state.status === 'absent') throw new PurserError('not_found', `image ${name} is not in namespace ${namespace}`)
    const present = await presentOf(effects.content, state.target, platform)
    const platforms = [...manifestsOf(present)].flatMap((each) => each.platform ?? [])
    const documents = [...documentsOf(present)].map(({ descriptor }) => descriptor)
    const sizeBytes = [...documents, ...blobsOf(present)].reduce((sum, each) => sum + each.sizeBytes, 0)
    facts.push(image.fact(name, 'image.exported', { digest: present.descriptor.digest, platforms, sizeBytes }))
    images.push({ name, digest: present.descriptor.digest, platforms, sizeBytes })
  }
  return { facts, result: { images } }
})
