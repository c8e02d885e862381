import { commandTypes } from '../../commands/index.ts'

/** What is counted, and how it is called on /metrics. Labels are bounded: they never name a thing. */
export interface Family {
  metric: string
  help: string
  labels: readonly string[]
  /** Upper bounds of a histogram, in the unit of the metric; a counter has none. */
  buckets?: readonly number[]
  /** Label values that are shown before anything was counted, so that the first one is an increase. */
  from?: readonly (readonly string[])[]
}

const START_SECONDS = [0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60, 120, 300]
const PULL_SECONDS = [0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300, 600, 1800]
const COMMAND_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]
export const API_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10, 30]

const CLAIM_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]
const JOB_SECONDS = [0.1, 0.5, 1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14_400, 43_200]

const OUTCOMES = [['succeeded'], ['failed'], ['refused'], ['cancelled']]
const WORKERS = [['pull'], ['snapshot'], ['task'], ['gc'], ['saga']]

/** Folded from the log. */
export const families = {
  starts: {
    metric: 'purser_container_starts_total',
    help: 'Containers that were asked to start; refused: the request was at fault.',
    labels: ['outcome'],
    from: OUTCOMES,
  },
  startDuration: {
    metric: 'purser_container_start_duration_seconds',
    help: 'From the request until the process runs; pulled: its image was fetched on the way.',
    labels: ['image'],
    buckets: START_SECONDS,
    from: [['present'], ['pulled']],
  },
  pulls: {
    metric: 'purser_image_pulls_total',
    help: 'Pulls that ended; refused: the request was at fault.',
    labels: ['outcome'],
    from: OUTCOMES,
  },
  pullFailures: {
    metric: 'purser_image_pull_failures_total',
    help: 'Pulls that failed for no fault of the request, by error; unavailable: the registry does not answer.',
    labels: ['code'],
    from: [['unavailable'], ['deadline_exceeded'], ['data_loss'], ['resource_exhausted'], ['internal']],
  },
  pullDuration: {
    metric: 'purser_image_pull_duration_seconds',
    help: 'Duration of pulls that succeeded; cached: no byte of the image was transferred.',
    labels: ['cache'],
    buckets: PULL_SECONDS,
    from: [['cached'], ['cold']],
  },
  imageUses: {
    metric: 'purser_image_uses_total',
    help: 'Pulls, and containers made without one, by whether the image was there.',
    labels: ['cache'],
    from: [['hit'], ['miss']],
  },
  exits: {
    metric: 'purser_task_exits_total',
    help: 'Tasks that ended; killed: by request, crashed: by a status other than 0 that nobody asked for, failed: so, as a step of a job.',
    labels: ['outcome'],
    from: [['clean'], ['crashed'], ['failed'], ['killed'], ['oom'], ['timeout'], ['lost']],
  },
  ooms: {
    metric: 'purser_task_oom_kills_total',
    help: 'Times that the kernel ended a process of a task for want of memory.',
    labels: [],
    from: [[]],
  },
  shimLosses: {
    metric: 'purser_shim_losses_total',
    help: 'Tasks whose shim died or did not answer any more.',
    labels: [],
    from: [[]],
  },
  snapshots: {
    metric: 'purser_snapshot_operations_total',
    help: 'Operations on snapshots that ended; refused: the request was at fault.',
    labels: ['operation', 'outcome'],
    from: ['prepare', 'view', 'commit', 'unpack', 'remove'].flatMap((operation) => [
      [operation, 'succeeded'],
      [operation, 'failed'],
    ]),
  },
  claims: {
    metric: 'purser_pool_claims_total',
    help: 'Claims of tasks of pools: warm, one was ready; cold, one was started; none, there was none or none in time.',
    labels: ['start'],
    from: [['warm'], ['cold'], ['none']],
  },
  claimDuration: {
    metric: 'purser_pool_claim_duration_seconds',
    help: "How long a claim took until the task was the caller's.",
    labels: ['start'],
    buckets: CLAIM_SECONDS,
    from: [['warm'], ['cold']],
  },
  jobs: {
    metric: 'purser_jobs_ended_total',
    help: 'Jobs that ended, with their last attempt; broken: they failed for no fault of their own.',
    labels: ['outcome'],
    from: [['succeeded'], ['failed'], ['broken'], ['cancelled']],
  },
  jobWaits: {
    metric: 'purser_job_wait_duration_seconds',
    help: 'From the submission of a job until its first attempt.',
    labels: [],
    buckets: JOB_SECONDS,
    from: [[]],
  },
  jobDuration: {
    metric: 'purser_job_duration_seconds',
    help: 'From the first attempt at a job to its end, with what it waited for others.',
    labels: ['outcome'],
    buckets: JOB_SECONDS,
    from: [['succeeded'], ['failed'], ['broken']],
  },
  commands: {
    metric: 'purser_commands_total',
    help: 'Commands that ended.',
    labels: ['type', 'outcome'],
    from: [...commandTypes.keys()].flatMap((type) => [
      [type, 'succeeded'],
      [type, 'failed'],
    ]),
  },
  waits: {
    metric: 'purser_command_wait_duration_seconds',
    help: 'From acceptance until a worker begins.',
    labels: ['worker'],
    buckets: COMMAND_SECONDS,
    from: WORKERS,
  },
  services: {
    metric: 'purser_command_service_duration_seconds',
    help: 'How long the attempt took that ended a command.',
    labels: ['worker'],
    buckets: COMMAND_SECONDS,
    from: WORKERS,
  },
} as const satisfies Record<string, Family>

/** Of what no event tells: requests that only read, and the disk. Not shown on /metrics, which has them in detail. */
export const observed = {
  apiDuration: {
    metric: 'api_duration_seconds',
    help: 'Time to answer requests that do not ask to wait.',
    labels: [],
    buckets: API_SECONDS,
  },
  apiRequests: { metric: 'api_requests', help: 'Requests; error: a status of 500 or more.', labels: ['outcome'] },
  diskUsed: { metric: 'disk_used', help: 'Share of the disk that is used, once a minute.', labels: [] },
} as const satisfies Record<string, Family>

export type FamilyName = keyof typeof families | keyof typeof observed

const all: Readonly<Record<FamilyName, Family>> = { ...families, ...observed }

/** One thing that was counted. */
export interface Sample {
  family: FamilyName
  labels: readonly string[]
  /** Seconds for a histogram, how many for a counter. */
  value: number
}

/** The name of a series: its family and the values of its labels. */
export const seriesOf = (family: FamilyName, ...labels: readonly string[]): string => [family, ...labels].join(' ')

/** Index of the bucket that a value falls in; the last is that of what is beyond all bounds. 0 for a counter. */
export function bucketOf(family: FamilyName, value: number): number {
  const { buckets } = all[family]
  if (buckets === undefined) return 0
  const at = buckets.findIndex((bound) => value <= bound)
  return at < 0 ? buckets.length : at
}

export const isHistogram = (family: FamilyName): boolean => all[family].buckets !== undefined
