import { createWriteStream } from 'node:fs'
import { rename, rm, stat } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { PurserError, toPurserError } from '../model/errors.ts'
import { imageNamed } from './line/image-name.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [{ name: 'image', count: '1-', completes: 'image' }],
  options: {
    output: { short: 'o', value: 'file', completes: 'file', help: 'file to write, instead of standard output' },
    platform: { value: 'os/arch', help: 'only this one; all that are here without it' },
  },
  async run({ client, flags: { output, platform }, args }) {
    if (output === undefined && process.stdout.isTTY) {
      throw new PurserError('invalid_argument', 'an archive is not written to a terminal', {
        remedy: 'name a file with -o, or redirect: purser save IMAGE > image.tar',
      })
    }
    const [subject = '', ...also] = await Promise.all(args.map((given) => imageNamed(client, given)))
    const { id } = await client.execute('image.export', { subject, payload: { also, platform } })
    const bytes = Readable.from(client.fetchArchive(id), { objectMode: false })
    if (output === undefined) await pipeline(bytes, process.stdout, { end: false })
    else if (await isSpecial(output)) await pipeline(bytes, createWriteStream(output))
    else await writeWhole(bytes, output)
    return 0
  },
})

/** A pipe or a device: nothing can take its place. */
async function isSpecial(file: string): Promise<boolean> {
  return await stat(file).then(
    (found) => !found.isFile(),
    () => false,
  )
}

/** Under another name until it is whole: a file that is there is not half an archive. */
async function writeWhole(bytes: Readable, file: string): Promise<void> {
  const partial = `${file}.${process.pid}.part`
  try {
    await pipeline(bytes, createWriteStream(partial, { flags: 'wx', flush: true }))
    await rename(partial, file)
  } catch (error) {
    await rm(partial, { force: true })
    throw toPurserError(error)
  }
}
