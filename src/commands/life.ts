import { z } from 'zod'
import { healthRequest } from '../oci/health-check.ts'
import { logging } from './logging.ts'
import { type RestartPolicy, restartPolicy } from './restart.ts'

/** A day: no stop waits longer. */
export const GRACE_MS_MAX = 86_400_000

/** How a container lives, besides what it runs: the record holds what `container.run` was asked. */
export const lifeOptions = {
  health: healthRequest.optional().describe('how it is told whether it is well, over what its image says'),
  init: z
    .boolean()
    .optional()
    .describe('whether its first process is an init that reaps and forwards signals, with the program as its child'),
  logging: logging.optional().describe('what becomes of its output'),
  restart: restartPolicy.optional().describe('whether it is started again when its task has ended; not without one'),
  stopTimeoutMs: z
    .int()
    .nonnegative()
    .max(GRACE_MS_MAX, 'a stop waits a day at most')
    .optional()
    .describe('milliseconds from the stop signal to SIGKILL, where a stop names no other; 10000 without it'),
}

/** What cannot be asked for together. */
export function lifeConflict({
  restart,
  onExit,
}: {
  restart?: RestartPolicy | undefined
  onExit: 'keep' | 'remove'
}): { field: string; message: string } | undefined {
  if (onExit !== 'remove' || restart === undefined || restart.policy === 'no') return undefined
  return {
    field: 'restart',
    message: `a container that is removed when it exits (--rm) is not started again by a policy (--restart ${restart.policy})`,
  }
}
