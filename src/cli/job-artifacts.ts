import { createHash } from 'node:crypto'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { PurserError } from '../model/errors.ts'
import { defineVerb } from './line/verb.ts'
import { humanSize, print } from './terminal/output.ts'

export const verb = defineVerb({
  args: [
    { name: 'job', count: '1', completes: 'job' },
    { name: 'path', count: '0-' },
  ],
  options: {
    output: { short: 'o', value: 'dir', completes: 'file', help: 'write them there; without it they are listed' },
  },
  async run({ client, flags: { output }, args: [id = '', ...paths], format }) {
    const { artifacts } = await client.jobs.get(id)
    const wanted = paths.length === 0 ? artifacts : artifacts.filter(({ path }) => paths.some((of) => isIn(path, of)))
    const absent = paths.find((of) => !artifacts.some(({ path }) => isIn(path, of)))
    if (absent !== undefined) {
      throw new PurserError('not_found', `job ${id} has no artifact ${JSON.stringify(absent)}`, {
        remedy: `purser job artifacts ${id}`,
      })
    }
    if (output === undefined) {
      print(wanted, format, {
        PATH: ({ path }) => path,
        SIZE: ({ sizeBytes }) => humanSize(sizeBytes),
        DIGEST: ({ digest }) => digest,
      })
      return 0
    }
    for (const { path, digest } of wanted) {
      await write(client.jobs.artifact(id, path), join(output, path), digest)
      process.stdout.write(`${path}\n`)
    }
    return 0
  },
})

const isIn = (path: string, of: string): boolean => path === of || path.startsWith(`${of.replace(/\/+$/, '')}/`)

/** Whole and as the job made it, or not at all. */
async function write(bytes: AsyncIterable<Uint8Array>, to: string, digest: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true })
  const part = `${to}.part-${process.pid}`
  try {
    const hash = createHash('sha256')
    {
      await using file = await open(part, 'wx', 0o644)
      for await (const chunk of bytes) {
        hash.update(chunk)
        await file.writeFile(chunk)
      }
    }
    const found = `sha256:${hash.digest('hex')}`
    if (found !== digest) {
      throw new PurserError('data_loss', `${to} would be ${found}, and is to be ${digest}`, { remedy: 'try again' })
    }
    await rename(part, to)
  } catch (error) {
    await rm(part, { force: true })
    throw error
  }
}
