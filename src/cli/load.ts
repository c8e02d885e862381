import type { PurserClient } from '../client/index.ts'
import { PurserError } from '../model/errors.ts'
import { readArchiveFile } from './line/archive-file.ts'
import { failed } from './line/failed.ts'
import { defineVerb } from './line/verb.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: {
    input: { short: 'i', value: 'file', completes: 'file', help: 'archive to read, instead of standard input' },
    quiet: { short: 'q', help: 'print only the names' },
    platform: { value: 'os/arch', help: "instead of this host's" },
    'all-platforms': { help: 'store what the archive has for other platforms too; only the one is unpacked' },
    'base-name': { value: 'repository', help: 'of images that the archive names by a tag alone' },
    snapshotter: { value: 'name', help: 'unpack the layers there at once: overlayfs (the default), native, or none' },
  },
  async run({ client, flags, format, debug }) {
    const { input, platform, quiet, snapshotter = 'overlayfs' } = flags
    const ingest = await client.sendArchive(bytesOf(input))
    try {
      const images = await client.archivedImages(ingest, flags['base-name'])
      if (images.length === 0) throw new PurserError('invalid_argument', 'the archive holds no images')
      let status = 0
      for (const { entry, name, digest } of images) {
        const unpack = snapshotter === 'none' ? {} : { snapshotter }
        try {
          const subject = name ?? `loaded${digest === undefined ? `:${ingest}-${entry}` : `@${digest}`}`
          const payload = { ingest, entry, platform, allPlatforms: flags['all-platforms'], ...unpack }
          const { result, subject: loaded } = await client.execute('image.import', { subject, payload })
          if (format !== 'table') printJson({ name: loaded, ...result }, format)
          else process.stdout.write(quiet ? `${loaded}\n` : `Loaded image: ${loaded}\n`)
        } catch (thrown) {
          const code = failed(thrown, { debug })
          if (status === 0) status = code
        }
      }
      return status
    } finally {
      await dropped(client, ingest)
    }
  },
})

async function* bytesOf(file: string | undefined): AsyncGenerator<Uint8Array> {
  if (file === undefined && process.stdin.isTTY) {
    throw new PurserError('invalid_argument', 'standard input is a terminal, and holds no archive', {
      remedy: 'name a file with -i, or redirect: purser load < images.tar',
    })
  }
  yield* file === undefined ? process.stdin : readArchiveFile(file, 'name another with -i')
}

/** It would go by itself after a while. */
async function dropped(client: PurserClient, ingest: string): Promise<void> {
  await client.dropArchive(ingest).catch(() => {})
}
