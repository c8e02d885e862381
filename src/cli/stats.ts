import { setTimeout as delay } from 'node:timers/promises'
import type { PurserClient } from '../client/index.ts'
import type { ContainerUsage } from '../model/container-usage.ts'
import { PurserError } from '../model/errors.ts'
import { rowOf, type StatsRow } from './activity/usage.ts'
import { defineVerb } from './line/verb.ts'
import { type Format, print } from './terminal/output.ts'

const INTERVAL_MS = 1000
const CLEAR = '\u001b[H\u001b[J'

const COLUMNS: Record<string, (row: StatsRow) => string> = {
  'CONTAINER ID': ({ ID }) => ID,
  NAME: ({ Name }) => Name,
  'CPU %': ({ CPUPerc }) => CPUPerc,
  'MEM USAGE / LIMIT': ({ MemUsage }) => MemUsage,
  'MEM %': ({ MemPerc }) => MemPerc,
  'NET I/O': ({ NetIO }) => NetIO,
  'BLOCK I/O': ({ BlockIO }) => BlockIO,
  PIDS: ({ PIDs }) => PIDs,
}

export const verb = defineVerb({
  args: [{ name: 'container', count: '0-', completes: 'container' }],
  options: {
    'no-stream': { help: 'once, not again and again' },
    since: { value: 'time', help: 'how it was from then on: an RFC 3339 time, or how long ago: 15m; of one container' },
  },
  async run({ client, flags, args, format }) {
    if (flags.since !== undefined) {
      await printRecent(client, args, flags.since, format)
      return 0
    }
    const wanted = new Map(
      (await Promise.all(args.map((name) => client.container(name)))).map((each) => [each.id, each.name]),
    )
    let before = await readings(client, wanted)
    // What was named is looked at even when it does not run: that is said.
    for (const id of wanted.keys()) if (!before.has(id)) await client.get(`/v1/containers/${id}/stats`)
    for (;;) {
      await delay(INTERVAL_MS) // Shares of a CPU are counted between two readings.
      const now = await readings(client, wanted)
      const rows = [...now].map(([id, { name, usage }]) => rowOf({ id, name }, usage, before.get(id)?.usage))
      if (!flags['no-stream'] && format === 'table' && process.stdout.isTTY) process.stdout.write(CLEAR)
      print(rows, format === 'json' && !flags['no-stream'] ? 'ndjson' : format, COLUMNS)
      if (flags['no-stream']) return 0
      before = now
    }
  },
})

/** Of those that are wanted; of all that run, where none are. */
async function readings(client: PurserClient, wanted: ReadonlyMap<string, string | undefined>) {
  const { items } = await client.get<{ items: (ContainerUsage & { id: string })[] }>('/v1/stats')
  const names = wanted.size > 0 ? wanted : await namesOf(client)
  return new Map(
    items
      .filter(({ id }) => wanted.size === 0 || wanted.has(id))
      .map((usage) => [usage.id, { name: names.get(usage.id) ?? usage.id, usage }]),
  )
}

async function namesOf(client: PurserClient): Promise<Map<string, string | undefined>> {
  const names = new Map<string, string | undefined>()
  for await (const { id, name } of client.list('containers')) names.set(id, name)
  return names
}

async function printRecent(
  client: PurserClient,
  [container, ...more]: readonly string[],
  since: string,
  format: Format,
) {
  if (container === undefined || more.length > 0) {
    throw new PurserError('invalid_argument', '--since shows one container', {
      remedy: 'purser stats --since 15m NAME',
    })
  }
  const { id, name = id } = await client.container(container)
  const { items } = await client.get<{ items: ContainerUsage[] }>(
    `/v1/containers/${encodeURIComponent(id)}/stats/recent`,
    {
      since,
    },
  )
  if (format === 'json' || format === 'ndjson') return print(items, format, {})
  const rows = items.map((usage, at) => ({ time: usage.time, ...rowOf({ id, name }, usage, items[at - 1]) }))
  const { 'CONTAINER ID': _, NAME: __, ...columns } = COLUMNS
  print(rows, format, { TIME: ({ time }: { time: string }) => time, ...columns } as Record<
    string,
    (row: (typeof rows)[number]) => string
  >)
}
