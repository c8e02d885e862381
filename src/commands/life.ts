import { z } from 'zod'

/** A day: no stop waits longer. */
export const GRACE_MS_MAX = 86_400_000

/** How a container lives, besides what it runs: the record holds what `container.run` was asked. */
export const lifeOptions = {
  init: z
    .boolean()
    .optional()
    .describe('whether its first process is an init that reaps and forwards signals, with the program as its child'),
  stopTimeoutMs: z
    .int()
    .nonnegative()
    .max(GRACE_MS_MAX, 'a stop waits a day at most')
    .optional()
    .describe('milliseconds from the stop signal to SIGKILL, where a stop names no other; 10000 without it'),
}
