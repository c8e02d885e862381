import { readArchiveFile } from './line/archive-file.ts'
import { defineVerb } from './line/verb.ts'
import { checkpointModeOptions, checkpointModePayload } from './options/checkpoint.ts'
import { containerOptions, containerPayload, submitOptions } from './options/container.ts'

export const verb = defineVerb({
  args: [
    { name: 'archive', count: '1', completes: 'file' },
    { name: 'image', count: '1', completes: 'image' },
  ],
  options: { ...containerOptions, ...checkpointModeOptions },
  async run({ client, flags, args: [archive = '', image = ''] }) {
    const container = await containerPayload(client, image, [], flags)
    const ingest = await client.sendArchive(readArchiveFile(archive, 'name the archive of a checkpoint'))
    try {
      const payload = { ...container, ingest, ...checkpointModePayload(flags) }
      const made = await client.execute('container.restore', { ...submitOptions(flags), payload })
      process.stdout.write(`${made.subject}\n`)
      return 0
    } finally {
      await client.dropArchive(ingest).catch(() => {}) // It would go by itself after a while.
    }
  },
})
