import type { ContainerView, PurserClient } from '../client/index.ts'
import { checkFilterValues, filters } from './line/filters.ts'
import { defineVerb } from './line/verb.ts'
import { age, print } from './terminal/output.ts'
import { leadingPorts, shownPorts } from './terminal/ports.ts'

const POOL_LABEL = 'purser.io/pool'
const COMMAND_CHARACTERS = 32

const LIVE = new Set(['running', 'paused', 'restarting'])
const STATUSES = ['created', 'running', 'paused', 'restarting', 'exited'] as const satisfies ContainerView['status'][]
const HEALTHS = ['none', 'starting', 'healthy', 'unhealthy']

export const verb = defineVerb({
  args: [],
  options: {
    all: { short: 'a', help: 'also those that do not run' },
    quiet: { short: 'q', help: 'only ids' },
    filter: { short: 'f', value: 'filter', many: true, help: 'label=KEY[=VALUE], status=, health=, name= or image=' },
  },
  async run({ client, flags, format }) {
    const { label, status, health, name, image } = filters(flags.filter, ['label', 'status', 'health', 'name', 'image'])
    checkFilterValues('status', status, STATUSES)
    checkFilterValues('health', health, HEALTHS)
    let rows: ContainerView[] = []
    for await (const each of client.list('containers', { label })) {
      const isLive = LIVE.has(each.status)
      if (status.length > 0 ? !status.includes(each.status) : !flags.all && !isLive) continue
      if (health.length > 0 && !health.includes(healthIn(each))) continue
      if (name.length > 0 && !name.some((part) => each.id.includes(part) || each.name?.includes(part))) continue
      if (image.length > 0 && !image.some((part) => each.image.includes(part))) continue
      rows.push(each)
    }
    const pooled = await readyInPools(client, rows)
    if (!flags.all && status.length === 0) rows = rows.filter(({ id }) => !pooled.has(id))
    if (flags.quiet) process.stdout.write(rows.map(({ id }) => `${id}\n`).join(''))
    else
      print(rows, format, {
        'CONTAINER ID': ({ id, name }) => (name === undefined ? id : `${id} (${name})`),
        IMAGE: ({ image }) => image,
        COMMAND: ({ options: { entrypoint = [], args = [] } }) => shortened([...entrypoint, ...args].join(' ')),
        CREATED: ({ createdAt }) => age(createdAt),
        STATUS: (each) => pooled.get(each.id) ?? statusOf(each),
        PORTS: ({ task }) => (task === undefined ? '' : shownPorts(leadingPorts(task))),
      })
    return 0
  },
})

/** Tasks of pools that wait for a claim: they are neither running nor paused by anybody. */
async function readyInPools(client: PurserClient, rows: readonly ContainerView[]): Promise<Map<string, string>> {
  const ready = new Map<string, string>()
  if (!rows.some(({ status, labels }) => status === 'paused' && labels[POOL_LABEL] !== undefined)) return ready
  for await (const { name, members } of client.list('pools')) {
    for (const { container, status } of members) if (status === 'ready') ready.set(container, `Ready in pool ${name}`)
  }
  return ready
}

function shortened(command: string): string {
  const text = JSON.stringify(command)
  return text.length > COMMAND_CHARACTERS ? `${text.slice(0, COMMAND_CHARACTERS - 2)}…"` : text
}

function statusOf({ status, task, restarts }: ContainerView): string {
  const times = restarts === undefined || restarts.count === 0 ? '' : `, restarted ${restarts.count}×`
  if (status === 'restarting') {
    const ended = task?.status === 'stopped' ? ` (${task.exitCode}) ${age(task.exitedAt)}` : ''
    return `Restarting${ended}${times}`
  }
  if (task?.status === 'stopped') {
    return `Exited (${task.exitCode}) ${age(task.exitedAt)}${task.reason === undefined ? '' : `, ${task.reason}`}${times}`
  }
  if (task && 'startedAt' in task && task.startedAt !== undefined) {
    const what = status === 'paused' ? 'Paused' : 'Up'
    return `${what}, started ${age(task.startedAt)}${healthOf(task.health)}${faultsOf(task)}${times}`
  }
  return 'Created'
}

const faultsOf = ({ networkFault, stuck }: NonNullable<ContainerView['task']>): string =>
  `${networkFault === undefined ? '' : `, network ${networkFault.network} degraded`}${stuck === undefined ? '' : ', stuck'}`

/** In docker's words: `none` for what has no check, or does not run. */
const healthIn = ({ task }: ContainerView): string =>
  (task !== undefined && 'health' in task ? task.health?.status : undefined) ?? 'none'

/** As docker shows it. */
function healthOf(health: { status: string } | undefined): string {
  if (health === undefined) return ''
  return health.status === 'starting' ? ' (health: starting)' : ` (${health.status})`
}
