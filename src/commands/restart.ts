import { z } from 'zod'
import type { TaskState } from './task.ts'

/** Whether a container whose task has ended is started again, as docker's restart policies say. */
export const restartPolicy = z.discriminatedUnion('policy', [
  z.strictObject({
    policy: z.literal('on-failure'),
    retriesMax: z.int().min(1).max(1_000_000).optional().describe('how often, since somebody started it'),
  }),
  z.strictObject({ policy: z.enum(['no', 'always', 'unless-stopped']) }),
])
export type RestartPolicy = z.output<typeof restartPolicy>

/** How far a container with a policy is with its restarts. */
export interface Restarts {
  /** Whether it is to run: since it was started, until somebody stops it. */
  wanted: boolean
  /** How often its policy has started it again since somebody did. */
  count: number
  /** What was waited for the last time, in milliseconds. */
  delayMs: number
}

const DELAY_MS = 100
const DELAY_MS_MAX = 60_000
/** Who has run for so long begins with the shortest delay again. */
const SOUND_MS = 10_000

/** What the rules need to know of a container. */
interface Restartable {
  status: string
  restart?: RestartPolicy
  restarts?: Restarts
}

export const hasPolicy = ({ restart }: Pick<Restartable, 'restart'>): boolean =>
  restart !== undefined && restart.policy !== 'no'

/** Whether a container is to be started again by its policy; a start that failed counts as an exit that did. */
export function isRestartDue({ status, restart, restarts }: Restartable, task: TaskState): boolean {
  if (status !== 'present' || restart === undefined || restarts?.wanted !== true) return false
  if (task.status !== 'stopped' && task.status !== 'absent') return false
  switch (restart.policy) {
    case 'no':
      return false
    case 'on-failure': {
      const hasFailed = task.status === 'absent' || task.exitCode !== 0
      return hasFailed && restarts.count < (restart.retriesMax ?? Number.POSITIVE_INFINITY)
    }
    default:
      return true
  }
}

/** Whether a container that somebody has stopped is started again with the daemon. */
export const isStartedWithDaemon = ({ status, restart, restarts }: Restartable, task: TaskState): boolean =>
  status === 'present' &&
  restart?.policy === 'always' &&
  restarts?.wanted === false &&
  (task.status === 'stopped' || task.status === 'absent')

/** The how-manyeth restart the next one is. */
export const nextRestart = ({ restarts }: Restartable): number => (restarts?.count ?? 0) + 1

/** Milliseconds from the exit of a task, or from a failed start, to the next start. */
export function restartDelayMs({ restarts }: Restartable, task: TaskState): number {
  const ranMs =
    task.status === 'stopped' && task.startedAt !== undefined
      ? Date.parse(task.exitedAt) - Date.parse(task.startedAt)
      : 0
  const before = restarts?.delayMs ?? 0
  return ranMs >= SOUND_MS || before === 0 ? DELAY_MS : Math.min(before * 2, DELAY_MS_MAX)
}
