import { parseDuration } from '../oci/size.ts'
import type { AuditRow } from '../projections/audit/query.ts'
import { defineVerb } from './line/verb.ts'
import { wholeNumber } from './options/numbers.ts'
import { csvOf, print } from './terminal/output.ts'

const filter = (value: string, help: string) => ({ value, help })

export const verb = defineVerb({
  args: [{ name: 'words', count: '0-' }],
  options: {
    subject: { ...filter('glob', 'AGGREGATE/ID: container/web, */web'), completes: 'subject' },
    action: filter('glob', 'container.run, task.*'),
    actor: filter('actor', 'as it is recorded'),
    uid: { ...filter('uid', 'user who asked'), parse: wholeNumber(0, 1e15 - 1) },
    pid: { ...filter('pid', 'process that asked'), parse: wholeNumber(1, 4_194_304) },
    executable: filter('path', 'program that asked'),
    surface: filter('name', 'API that it came through: http'),
    outcome: filter('outcome', 'succeeded, failed, cancelled, refused, happened …'),
    code: filter('code', 'error code: not_found'),
    command: filter('id', 'of the command'),
    correlation: filter('id', 'of the outermost command of a chain'),
    'slower-than': { ...filter('duration', 'commands that took so long, at least: 500ms'), parse: parseDuration },
    since: filter('moment', 'a position, an RFC 3339 time or a duration (15m)'),
    until: filter('moment', 'a position, an RFC 3339 time or a duration (15m)'),
    order: { ...filter('order', 'newest first, or oldest'), choices: ['newest', 'oldest'] },
    limit: { ...filter('rows', '100 without it'), parse: wholeNumber(1, 1_000_000) },
  },
  async run({ client, flags, args, format, namespaceGiven }) {
    const { limit = 100, uid, pid, 'slower-than': slowerThanMs, ...filters } = flags
    const query = {
      ...filters,
      uid: uid?.toString(),
      pid: pid?.toString(),
      slowerThanMs: slowerThanMs?.toString(),
      ...(args.length === 0 ? {} : { text: args.join(' ') }),
      ...(namespaceGiven === undefined ? {} : { namespace: namespaceGiven }),
    }
    const rows: AuditRow[] = []
    for await (const row of client.audit({ ...query, limit: String(Math.min(1000, limit)) })) {
      if (rows.push(row) >= limit) break
    }
    if (format === 'csv')
      process.stdout.write(csvOf([COLUMNS, ...rows.map((row) => COLUMNS.map((column) => String(row[column] ?? '')))]))
    else
      print(rows, format, {
        POSITION: ({ position }) => String(position),
        TIME: ({ time }) => time,
        ACTOR: ({ actor }) => actor,
        ACTION: ({ action }) => action,
        SUBJECT: ({ subject }) => subject,
        OUTCOME: ({ outcome }) => outcome,
        DURATION: ({ durationMs }) => (durationMs === undefined ? '' : `${durationMs} ms`),
        MESSAGE: ({ message }) => message ?? '',
      })
    return 0
  },
})

const COLUMNS = [
  'position',
  'time',
  'namespace',
  'actor',
  'uid',
  'pid',
  'executable',
  'surface',
  'action',
  'subject',
  'command',
  'parent',
  'correlation',
  'outcome',
  'code',
  'message',
  'ended',
  'durationMs',
] as const satisfies readonly (keyof AuditRow)[]
