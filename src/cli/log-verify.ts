import { join } from 'node:path'
import { parseVerifier } from '../archive/note.ts'
import { verifyArchive } from '../archive/verify.ts'
import { PurserError } from '../model/errors.ts'
import { readTextFile } from './line/files.ts'
import { defineVerb } from './line/verb.ts'
import type { LogStatus } from './log-show.ts'
import { wholeNumber } from './options/numbers.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: {
    archive: {
      value: 'directory',
      help: "of the archive, ROOT/log; the daemon's without it, which is then asked about the unsealed tail too",
      completes: 'file',
    },
    key: { value: 'file', help: "public key; with --archive, the archive's own copy without it", completes: 'file' },
    from: { value: 'position', help: 'first event to read', parse: wholeNumber(0, 1e15 - 1) },
    to: { value: 'position', help: 'last event to read', parse: wholeNumber(0, 1e15 - 1) },
  },
  async run({ client, flags, format }) {
    const { from, to } = flags
    const log = flags.archive === undefined ? await client.get<LogStatus>('/v1/log') : undefined
    const dir = flags.archive ?? log?.directory ?? ''
    const given = flags.key !== undefined
    const key =
      flags.key === undefined ? (log?.key ?? (await readTextFile(join(dir, 'key.pub')))) : await readTextFile(flags.key)
    const tail =
      log === undefined ? undefined : await checkTail(() => client.post<{ events: number }>('/v1/log/check-tail'))
    const result = await verifyArchive({ dir, verifier: parseVerifier(key), from, to })
    const fault = result.fault ?? tail?.fault
    if (format !== 'table') {
      const { checkpoint, ...rest } = result
      const root = checkpoint === undefined ? {} : { size: checkpoint.size, root: checkpoint.root.toString('base64') }
      printJson({ ...rest, ...root, ...(fault ? { fault } : {}), ...(tail ? { tail: tail.events } : {}) }, format)
    } else if (fault === undefined) {
      const read = result.events === 0 ? 'no events' : `events ${result.first} to ${result.last}`
      const unsealed = tail === undefined ? '' : `; ${tail.events} unsealed events are as they were appended`
      process.stdout.write(`${read} are as they were signed${unsealed}\n`)
      if (!given)
        process.stderr.write('purser: the key is from this host too: keep a copy elsewhere and give it with --key\n')
    } else {
      const at = fault.position === undefined ? '' : `event ${fault.position}: `
      process.stdout.write(`${fault.kind}: ${at}${fault.detail} (${fault.file})\n`)
    }
    return fault === undefined ? 0 : 1
  },
})

type Tail = { events: number; fault?: { kind: string; position?: number; file: string; detail: string } }

async function checkTail(ask: () => Promise<{ events: number }>): Promise<Tail> {
  try {
    return { events: (await ask()).events }
  } catch (error) {
    if (!(error instanceof PurserError) || error.code !== 'data_loss') throw error
    return { events: 0, fault: { kind: 'altered', file: 'Redis', detail: error.message } }
  }
}
