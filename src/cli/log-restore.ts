import { defineVerb } from './line/verb.ts'
import { wholeNumber } from './options/numbers.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: {
    config: { value: 'file', completes: 'file', help: 'TOML, as the daemon is given' },
    root: { value: 'dir', completes: 'file', help: 'as the daemon is given' },
    state: { value: 'dir', completes: 'file', help: 'as the daemon is given' },
    head: {
      value: 'position',
      help: 'last position that was acknowledged, where you know better than this host',
      parse: wholeNumber(0, 1e15 - 1),
    },
    without: {
      value: 'position',
      many: true,
      help: 'of an event in Redis that was altered: it counts as lost',
      parse: wholeNumber(1, 1e15 - 1),
    },
  },
  async run({ flags, format, debug }) {
    const { restoreOffline } = await import('../daemon/restore.ts')
    const report = await restoreOffline({ ...flags, debug }, flags)
    if (format === 'table') process.stdout.write(inWords(report))
    else printJson(report, format)
    return 0
  },
})

export interface Report {
  archiveThrough: number
  head: number
  fromRedis: number
  lost: { first: number; last: number }[]
  documents: number
  idempotencyKeys: number
  aside?: string
}

export function inWords(report: Report): string {
  const lost = report.lost.map(({ first, last }) => (first === last ? `${first}` : `${first} to ${last}`))
  const lines = [
    `archive    events up to ${report.archiveThrough}`,
    `from Redis ${report.fromRedis} events that were not in it`,
    `lost       ${lost.length === 0 ? 'no acknowledged event' : `events ${lost.join(', ')}`}`,
    `restored   ${report.documents} documents, ${report.idempotencyKeys} idempotency keys`,
    `recorded   as event ${report.head}`,
    ...(report.aside === undefined ? [] : [`set aside  ${report.aside}, which Redis could not read`]),
  ]
  return `${lines.join('\n')}\n`
}
