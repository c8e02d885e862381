import { PurserError } from '../model/errors.ts'
import type { ProcessInfo } from '../model/process-info.ts'
import { defineVerb } from './line/verb.ts'
import { humanSize, print } from './terminal/output.ts'

type Column = readonly [title: string, show: (process: ProcessInfo) => string]

/** Words of `ps -o`, with the titles that ps gives them. */
const COLUMNS: Readonly<Record<string, Column>> = {
  pid: ['PID', ({ pid }) => String(pid)],
  ppid: ['PPID', ({ ppid }) => String(ppid)],
  user: ['USER', ({ user }) => user],
  uid: ['UID', ({ uid }) => String(uid)],
  pcpu: ['%CPU', ({ cpuPercent }) => cpuPercent.toFixed(1)],
  rss: ['RSS', ({ residentBytes }) => humanSize(residentBytes)],
  vsz: ['VSZ', ({ virtualBytes }) => humanSize(virtualBytes)],
  s: ['S', ({ state }) => state],
  tty: ['TT', ({ tty }) => tty],
  stime: ['STIME', ({ startedAt }) => startOf(startedAt)],
  time: ['TIME', ({ cpuMs }) => clock(cpuMs)],
  comm: ['COMMAND', ({ command }) => command],
  cmd: ['CMD', ({ args }) => args],
}

/** As docker top without options: `ps -ef`. */
const USUAL: readonly Column[] = [
  ['UID', ({ user }) => user],
  ['PID', ({ pid }) => String(pid)],
  ['PPID', ({ ppid }) => String(ppid)],
  ['C', ({ cpuPercent }) => String(Math.floor(cpuPercent))],
  ['STIME', ({ startedAt }) => startOf(startedAt)],
  ['TTY', ({ tty }) => tty],
  ['TIME', ({ cpuMs }) => clock(cpuMs)],
  ['CMD', ({ args }) => args],
]

export const verb = defineVerb({
  args: [{ name: 'container', count: '1', completes: 'container' }],
  options: {
    columns: { short: 'o', value: 'words', parse: columns, help: `as of ps -o: ${Object.keys(COLUMNS).join(',')}` },
  },
  async run({ client, flags, args: [name = ''], format }) {
    const { id } = await client.container(name)
    const { items } = await client.get<{ items: ProcessInfo[] }>(`/v1/containers/${encodeURIComponent(id)}/processes`)
    print(items, format, Object.fromEntries(flags.columns ?? USUAL))
    return 0
  },
})

function columns(text: string): readonly Column[] {
  return text.split(',').map((word) => {
    const column = Object.hasOwn(COLUMNS, word) ? COLUMNS[word] : undefined
    if (column) return column
    throw new PurserError('invalid_argument', `there is no column ${JSON.stringify(word)}`, {
      remedy: `write some of ${Object.keys(COLUMNS).join(', ')}, joined by commas`,
    })
  })
}

const two = (value: number): string => String(value).padStart(2, '0')

const clock = (ms: number): string =>
  `${two(Math.floor(ms / 3_600_000))}:${two(Math.floor(ms / 60_000) % 60)}:${two(Math.floor(ms / 1000) % 60)}`

/** The time of a day, of another day its date. */
function startOf(time: string): string {
  const at = new Date(time)
  if (at.toDateString() === new Date().toDateString()) return `${two(at.getHours())}:${two(at.getMinutes())}`
  return at.toLocaleDateString('en-US', { month: 'short', day: '2-digit' }).replace(' ', '')
}
