import { z } from 'zod'
import { duration } from '../../model/duration.ts'
import type { Tally, Totals } from './buckets.ts'
import { API_SECONDS, type Family, families, seriesOf } from './families.ts'

const ratio = z.number().min(0).max(1)
const latency = duration.refine((ms) => ms > 0, 'it has to be longer than nothing')

/** What the service is to be measured by: `[slo]` of the configuration. */
export const sloSchema = z
  .strictObject({
    startSuccess: ratio.default(0.995).describe('share of the containers that start'),
    cachedPullP95: latency.prefault('4s').describe('95 of 100 pulls of an image that is there take less'),
    apiP95: latency.prefault('200ms').describe('95 of 100 requests are answered in less'),
    apiErrors: ratio.default(0.005).describe('share of the requests that fail, at most'),
    shimLossesPerHour: z.number().min(0).default(1),
    diskUsed: ratio.default(0.8).describe('share of the disk that is used, at most'),
    snapshotErrors: ratio.default(0).describe('share of the operations on snapshots that fail, at most'),
    crashes: ratio.default(0.005).describe('share of the tasks that crash, at most'),
    cacheHits: ratio.default(0.85).describe('share of the uses of an image that need no transfer'),
    oomKillsPerHour: z.number().min(0).default(0),
    warmClaims: ratio.default(0.9).describe('share of the claims of pools that find a task ready'),
    warmClaimP95: latency.prefault('20ms').describe('95 of 100 claims that find one take less'),
    jobSuccess: ratio.default(0.99).describe('share of the jobs that do not fail for a fault of the node'),
    jobWaitP95: latency.prefault('10m').describe('95 of 100 jobs have waited less when they begin'),
  })
  .prefault({})

export type Slo = z.output<typeof sloSchema>

/** How many there were, and how many of them should not have been. */
export interface Events {
  total: number
  bad: number
}

interface Named {
  name: string
  /** What it is the indicator of. */
  of: string
  /** Folded from the log; or from what was observed, which is of the whole node. */
  source: 'log' | 'observed'
}

/** An indicator with its objective. */
export type Objective = Named &
  (
    | {
        kind: 'ratio'
        /** Share that may be bad. */
        budget: (slo: Slo) => number
        events: (tally: Tally, slo: Slo) => Events
        /** Where it is a latency: the time that 95 of 100 have to be below, in seconds. */
        p95?: { series: string; family: Family; seconds: (slo: Slo) => number }
      }
    | { kind: 'rate'; perHour: (slo: Slo) => number; count: (tally: Tally) => number }
    | { kind: 'level'; max: (slo: Slo) => number; series: string }
  )

const LATE = 0.05

const CACHED_PULLS = seriesOf('pullDuration', 'cached')
const WARM_CLAIMS = seriesOf('claimDuration', 'warm')
const JOB_WAITS = seriesOf('jobWaits')
const API_ANSWERS = seriesOf('apiDuration')
const api: Family = { metric: '', help: '', labels: [], buckets: API_SECONDS }

export const objectives: readonly Objective[] = [
  {
    name: 'container_start_success',
    of: 'containers that started, of those whose request was in order',
    source: 'log',
    kind: 'ratio',
    budget: ({ startSuccess }) => 1 - startSuccess,
    events: (tally) => failures(tally, 'starts'),
  },
  {
    name: 'cached_pull_latency',
    of: 'pulls of an image that is there',
    source: 'log',
    kind: 'ratio',
    budget: () => LATE,
    events: (tally, { cachedPullP95 }) => late(tally.get(CACHED_PULLS), families.pullDuration, cachedPullP95 / 1000),
    p95: { series: CACHED_PULLS, family: families.pullDuration, seconds: ({ cachedPullP95 }) => cachedPullP95 / 1000 },
  },
  {
    name: 'api_latency',
    of: 'requests that do not ask to wait',
    source: 'observed',
    kind: 'ratio',
    budget: () => LATE,
    events: (tally, { apiP95 }) => late(tally.get(API_ANSWERS), api, apiP95 / 1000),
    p95: { series: API_ANSWERS, family: api, seconds: ({ apiP95 }) => apiP95 / 1000 },
  },
  {
    name: 'api_errors',
    of: 'requests that failed for no fault of their own',
    source: 'observed',
    kind: 'ratio',
    budget: ({ apiErrors }) => apiErrors,
    events: (tally) => {
      const bad = countOf(tally, seriesOf('apiRequests', 'error'))
      return { bad, total: bad + countOf(tally, seriesOf('apiRequests', 'ok')) }
    },
  },
  {
    name: 'shim_loss',
    of: 'shims that died or did not answer any more',
    source: 'log',
    kind: 'rate',
    perHour: ({ shimLossesPerHour }) => shimLossesPerHour,
    count: (tally) => countOf(tally, seriesOf('shimLosses')),
  },
  {
    name: 'disk_used',
    of: 'share of the disk that holds the root directory',
    source: 'observed',
    kind: 'level',
    max: ({ diskUsed }) => diskUsed,
    series: seriesOf('diskUsed'),
  },
  {
    name: 'snapshot_errors',
    of: 'operations on snapshots that failed for no fault of the request',
    source: 'log',
    kind: 'ratio',
    budget: ({ snapshotErrors }) => snapshotErrors,
    events: (tally) => failures(tally, 'snapshots'),
  },
  {
    name: 'crashes',
    of: 'tasks that ended with a status other than 0 which nobody asked for',
    source: 'log',
    kind: 'ratio',
    budget: ({ crashes }) => crashes,
    events: (tally) => {
      const bad = countOf(tally, seriesOf('exits', 'crashed')) + countOf(tally, seriesOf('exits', 'oom'))
      return { bad, total: sumOf(tally, 'exits', () => true) }
    },
  },
  {
    name: 'image_cache_hits',
    of: 'uses of an image that needed no transfer',
    source: 'log',
    kind: 'ratio',
    budget: ({ cacheHits }) => 1 - cacheHits,
    events: (tally) => {
      const bad = countOf(tally, seriesOf('imageUses', 'miss'))
      return { bad, total: bad + countOf(tally, seriesOf('imageUses', 'hit')) }
    },
  },
  {
    name: 'oom_kills',
    of: 'processes that the kernel ended for want of memory',
    source: 'log',
    kind: 'rate',
    perHour: ({ oomKillsPerHour }) => oomKillsPerHour,
    count: (tally) => countOf(tally, seriesOf('ooms')),
  },
  {
    name: 'warm_claims',
    of: 'claims of pools that found a task ready',
    source: 'log',
    kind: 'ratio',
    budget: ({ warmClaims }) => 1 - warmClaims,
    events: (tally) => {
      const bad = countOf(tally, seriesOf('claims', 'cold')) + countOf(tally, seriesOf('claims', 'none'))
      return { bad, total: bad + countOf(tally, seriesOf('claims', 'warm')) }
    },
  },
  {
    name: 'warm_claim_latency',
    of: 'claims that found a task ready',
    source: 'log',
    kind: 'ratio',
    budget: () => LATE,
    events: (tally, { warmClaimP95 }) => late(tally.get(WARM_CLAIMS), families.claimDuration, warmClaimP95 / 1000),
    p95: { series: WARM_CLAIMS, family: families.claimDuration, seconds: ({ warmClaimP95 }) => warmClaimP95 / 1000 },
  },
  {
    name: 'job_success',
    of: 'jobs that ended as their steps did',
    source: 'log',
    kind: 'ratio',
    budget: ({ jobSuccess }) => 1 - jobSuccess,
    events: (tally) => ({
      bad: countOf(tally, seriesOf('jobs', 'broken')),
      total: sumOf(tally, 'jobs', ([outcome]) => outcome !== 'cancelled'),
    }),
  },
  {
    name: 'job_wait',
    of: 'jobs that waited for their first attempt',
    source: 'log',
    kind: 'ratio',
    budget: () => LATE,
    events: (tally, { jobWaitP95 }) => late(tally.get(JOB_WAITS), families.jobWaits, jobWaitP95 / 1000),
    p95: { series: JOB_WAITS, family: families.jobWaits, seconds: ({ jobWaitP95 }) => jobWaitP95 / 1000 },
  },
]

/** Of what was carried out or should have been: refusals and cancellations are left out. */
function failures(tally: Tally, family: 'starts' | 'snapshots'): Events {
  const bad = sumOf(tally, family, (labels) => labels.at(-1) === 'failed')
  return { bad, total: bad + sumOf(tally, family, (labels) => labels.at(-1) === 'succeeded') }
}

function late(totals: Totals | undefined, family: Family, seconds: number): Events {
  if (totals === undefined) return { bad: 0, total: 0 }
  return { total: totals.count, bad: totals.count - countBelow(totals, family, seconds) }
}

/** How many values were not above a bound; within the bucket that it is in, they are taken for evenly spread. */
export function countBelow({ buckets }: Totals, { buckets: bounds = [] }: Family, bound: number): number {
  let below = 0
  let from = 0
  for (const [index, to] of bounds.entries()) {
    const count = buckets[index] ?? 0
    if (bound < to) return below + (count * (bound - from)) / (to - from)
    below += count
    from = to
  }
  return below
}

/**
 * The value that a share of all are not above, as histogram_quantile has it.
 *
 * @see prometheus.io, "Query functions", histogram_quantile
 */
export function quantile({ count, buckets }: Totals, { buckets: bounds = [] }: Family, share: number): number {
  const rank = share * count
  let below = 0
  let from = 0
  for (const [index, to] of bounds.entries()) {
    const within = buckets[index] ?? 0
    if (within > 0 && below + within >= rank) return from + ((to - from) * (rank - below)) / within
    below += within
    from = to
  }
  return from
}

const countOf = (tally: Tally, series: string): number => tally.get(series)?.count ?? 0

function sumOf(tally: Tally, family: string, isWanted: (labels: string[]) => boolean): number {
  let sum = 0
  for (const [series, { count }] of tally) {
    const [name, ...labels] = series.split(' ')
    if (name === family && isWanted(labels)) sum += count
  }
  return sum
}
