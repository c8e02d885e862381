import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { mapLimited } from '../model/concurrency.ts'
import { errorCodeOf, PurserError, toPurserError } from '../model/errors.ts'
import { failed } from './line/failed.ts'
import { defineVerb } from './line/verb.ts'
import { humanSize, printJson } from './terminal/output.ts'

/** Behind all that somebody waits for, which has 100. */
const PRIORITY = 1000
const LINES_MAX = 10_000
const DIGEST = /@sha256:[0-9a-f]{64}$/

export const verb = defineVerb({
  args: [{ name: 'image', count: '0-', completes: 'image' }],
  options: {
    file: {
      short: 'f',
      value: 'file',
      completes: 'file',
      help: 'a name on each line, after # is a comment; - reads standard input',
    },
    jobs: { short: 'j', value: 'count', help: 'pulls at once; 2 by default', parse: countOf },
    tags: { help: 'take names without a digest too, for whatever they stand for now' },
    platform: { value: 'os/arch', help: "instead of this host's" },
  },
  async run({ client, flags: { file, jobs = 2, tags, platform }, args, format, debug }) {
    const names = [...args, ...(file === undefined ? [] : linesOf(await read(file)))]
    const loose = names.find((name) => !DIGEST.test(name))
    if (loose !== undefined && !tags) {
      throw new PurserError(
        'invalid_argument',
        `${JSON.stringify(loose)} has no digest, so that it may mean another image tomorrow`,
        {
          remedy: 'write NAME@sha256:…, or say --tags',
        },
      )
    }
    let status = 0
    await mapLimited(names, jobs, new AbortController().signal, async (subject) => {
      try {
        const ended = await client.execute('image.pull', { subject, payload: { platform }, priority: PRIORITY })
        const { fetchedBytes = 0, cached } = ended.result as { fetchedBytes?: number; cached?: boolean }
        if (format !== 'table') printJson({ name: ended.subject, ...ended.result }, 'ndjson')
        else
          process.stdout.write(`${ended.subject}: ${cached ? 'already here' : `${humanSize(fetchedBytes)} fetched`}\n`)
      } catch (thrown) {
        const code = failed(thrown, { debug })
        if (status === 0) status = code
      }
    })
    return status
  },
})

async function read(file: string): Promise<string> {
  if (file === '-') return await text(process.stdin)
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (errorCodeOf(error) !== undefined) throw error
    throw new PurserError('not_found', `the list ${file} cannot be read`, {
      cause: toPurserError(error),
      remedy: 'name another with -f',
    })
  }
}

function linesOf(list: string): string[] {
  const lines = list.split('\n').map((line) => line.replace(/(?:^|\s)#.*$/, '').trim())
  const names = lines.filter((line) => line !== '')
  if (names.length <= LINES_MAX) return names
  throw new PurserError('invalid_argument', `the list has ${names.length} names`, {
    remedy: `write ${LINES_MAX} at most`,
  })
}

function countOf(given: string): number {
  const count = Number(given)
  if (/^\d{1,2}$/.test(given) && count > 0) return count
  throw new PurserError('invalid_argument', `${JSON.stringify(given)} is no number of pulls`, {
    remedy: 'write 1 to 99',
  })
}
