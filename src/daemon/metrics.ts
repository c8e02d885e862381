import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { maintenance, maintenanceAt } from '../commands/maintenance.ts'
import { type PoolMemberState, poolMember } from '../commands/pool-member.ts'
import { task } from '../commands/task.ts'
import type { Projections } from '../projections/index.ts'
import type { Slis } from '../projections/sli/slis.ts'
import type { Relay } from '../queue/relay.ts'
import type { JobScheduler } from '../sagas/jobs/scheduler.ts'
import type { PoolKeeper } from '../workers/task/pool/keeper.ts'
import type { openBooks } from './books.ts'

const APPEND_SECONDS = [0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5]

/** Of a Redis that takes longer a scraper should hear, instead of waiting with it. */
const REDIS_ANSWERS_MS = 1000

const POOL_STATUSES: readonly PoolMemberState['status'][] = [
  'warming',
  'ready',
  'claiming',
  'claimed',
  'returned',
  'retiring',
]
const TASK_STATUSES: readonly string[] = ['creating', 'created', 'running', 'paused', 'stopped']

export interface Observed {
  books: Awaited<ReturnType<typeof openBooks>>
  redis: Redis
  relay: Relay
  jobs: JobScheduler
  pools: PoolKeeper
  projections: Projections
  version: string
}

/** What is measured of the daemon as it is now; the indicators, which are folded from the log, are beside it. */
export function daemonMetrics(): Registry {
  const register = new Registry()
  collectDefaultMetrics({ register })
  return register
}

/** @returns what is to be called with the seconds that each append took */
export function appendMetric(register: Registry): (seconds: number) => void {
  const histogram = new Histogram({
    name: 'purser_log_append_duration_seconds',
    help: 'From sending events to Redis until they are written and fsynced.',
    buckets: APPEND_SECONDS,
    registers: [register],
  })
  return (seconds) => histogram.observe(seconds)
}

/** Gauges that are read when they are asked for. */
export function observe(
  register: Registry,
  { books, redis, relay, jobs, pools, projections, version }: Observed,
): void {
  const { log, archive, sealer } = books
  const gauge = (name: string, help: string, read: () => number | Promise<number>) =>
    new Gauge({
      name,
      help,
      registers: [register],
      async collect() {
        this.set(await read())
      },
    })
  const redisInfo = infoOf(redis)
  const memory = async (field: string): Promise<number> =>
    Number(new RegExp(`^${field}:(\\d+)`, 'm').exec((await redisInfo()) ?? '')?.[1] ?? Number.NaN)
  gauge('purser_log_position', 'Position of the last event in the log.', () => log.head)
  gauge('purser_log_sealed_position', 'Position of the last event that is sealed in the archive.', () => archive.last)
  gauge('purser_log_segments', 'Segments that the archive holds.', () => archive.segments.length)
  gauge('purser_log_archive_bytes', 'Bytes that the archive takes.', () => archive.bytes().catch(() => Number.NaN))
  gauge('purser_log_sealing_failed', '1 while nothing is sealed because of a problem.', () => (sealer.problem ? 1 : 0))
  gauge('purser_redis_up', '1 while Redis answers.', async () => ((await redisInfo()) === undefined ? 0 : 1))
  gauge('purser_redis_memory_used_bytes', "Redis's used_memory.", () => memory('used_memory'))
  gauge('purser_redis_memory_max_bytes', "Redis's maxmemory; 0 without a bound.", () => memory('maxmemory'))
  const announced = () => [...log.documents.list(maintenance)].filter(({ state }) => maintenanceAt(state, Date.now()))
  gauge('purser_maintenance', '1 while changes on the node are announced: alerts are silent.', () =>
    announced().length > 0 ? 1 : 0,
  )
  gauge('purser_maintenance_end_timestamp_seconds', 'When it ends by itself; +Inf: when it is stopped; 0: none.', () =>
    announced().reduce((end, { state }) => {
      const until = state.status === 'announced' ? state.until : undefined
      return Math.max(end, until === undefined ? Number.POSITIVE_INFINITY : Date.parse(until) / 1000)
    }, 0),
  )
  new Gauge({
    name: 'purser_build_info',
    help: 'Always 1; which version serves which node.',
    labelNames: ['version', 'node'],
    registers: [register],
  }).set({ version, node: log.node }, 1)
  new Gauge({
    name: 'purser_tasks',
    help: 'Tasks that there are, by status.',
    labelNames: ['status'],
    registers: [register],
    collect() {
      const counts = new Map(TASK_STATUSES.map((status) => [status, 0]))
      for (const { state } of log.documents.list(task)) counts.set(state.status, (counts.get(state.status) ?? 0) + 1)
      for (const [status, count] of counts) this.set({ status }, count)
    },
  })
  gauge('purser_tasks_stuck', 'Tasks that did not end, or could not be removed.', () => {
    let stuck = 0
    for (const { state } of log.documents.list(task)) if (state.status !== 'absent' && state.stuck) stuck += 1
    return stuck
  })
  new Gauge({
    name: 'purser_pools',
    help: 'Pools, by how they stand; limited: tasksMax allows no more, failing: tasks do not become ready, starved: the memory is short.',
    labelNames: ['standing'],
    registers: [register],
    collect() {
      for (const [standing, count] of Object.entries(pools.standings)) this.set({ standing }, count)
    },
  })
  new Gauge({
    name: 'purser_pool_tasks',
    help: 'Tasks of pools, by what they are to them; ready ones are frozen.',
    labelNames: ['status'],
    registers: [register],
    collect() {
      const counts = new Map(POOL_STATUSES.map((status) => [status, 0]))
      for (const { state } of log.documents.list(poolMember))
        counts.set(state.status, (counts.get(state.status) ?? 0) + 1)
      for (const [status, count] of counts) this.set({ status }, count)
    },
  })
  new Gauge({
    name: 'purser_jobs',
    help: 'Jobs that wait for a place on the node, and those that have one.',
    labelNames: ['status'],
    registers: [register],
    collect() {
      for (const [status, count] of Object.entries(jobs.depth)) this.set({ status }, count)
    },
  })
  new Gauge({
    name: 'purser_commands_active',
    help: 'Commands that wait or run, by worker.',
    labelNames: ['worker'],
    registers: [register],
    collect() {
      for (const [worker, count] of relay.depth()) this.set({ worker }, count)
    },
  })
  new Gauge({
    name: 'purser_projection_lag_events',
    help: 'Events between what a projection has folded and the head of the log.',
    labelNames: ['projection'],
    registers: [register],
    collect() {
      for (const runner of Object.values(projections)) this.set({ projection: runner.status.name }, runner.status.lag)
    },
  })
  new Gauge({
    name: 'purser_projection_stopped',
    help: '1 while a projection stands still at an event that it cannot fold.',
    labelNames: ['projection'],
    registers: [register],
    collect() {
      for (const { status } of Object.values(projections))
        this.set({ projection: status.name }, status.failure === undefined ? 0 : 1)
    },
  })
}

/** What Redis says of its memory, asked once at a time; undefined when it does not answer soon. */
function infoOf(redis: Redis): () => Promise<string | undefined> {
  let asking: Promise<string | undefined> | undefined
  return async () => {
    asking ??= redis
      .info('memory')
      .catch(() => undefined)
      .finally(() => {
        asking = undefined
      })
    const late = new AbortController()
    const tooLate = delay(REDIS_ANSWERS_MS, undefined, { signal: late.signal, ref: false })
    return await Promise.race([asking, tooLate]).finally(() => late.abort())
  }
}

/**
 * The text for a scraper: in OpenMetrics with exemplars where it asks for that.
 *
 * @see prometheus.io, "Exposition formats"; OpenMetrics 1.0, where a counter's name has `_total` in its samples only
 */
export async function metricsText(
  register: Registry,
  slis: Slis,
  format: 'prometheus' | 'openmetrics',
): Promise<string> {
  const plain = `${await register.metrics()}\n${await slis.metrics({ exemplars: format === 'openmetrics' })}`
  if (format === 'prometheus') return plain
  const counters = [...plain.matchAll(/^# TYPE (\S+)_total counter$/gm)].map(([, name]) => name)
  const named = new RegExp(`^# (HELP|TYPE) (${counters.join('|')})_total `, 'gm')
  return `${plain.replaceAll(named, '# $1 $2 ').replaceAll(/\n{2,}/g, '\n')}# EOF\n`
}
