import { z } from 'zod'
import type { Rlimit } from './schema.ts'
import { ULIMITS } from './ulimit-names.ts'

const limit = z.int().min(-1)

export const ulimits = z
  .array(
    z
      .strictObject({
        name: z.enum(ULIMITS),
        soft: limit.describe('-1 is unlimited'),
        hard: limit.describe('-1 is unlimited'),
      })
      .refine(({ soft, hard }) => hard === -1 || (soft !== -1 && soft <= hard), {
        error: 'the soft limit is above the hard one',
      }),
  )
  .min(1)
  .max(ULIMITS.length)
  .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, 'a limit is given twice')
  .describe('limits of each process, instead of the usual ones; see ulimit in bash(1)')

/** RLIM_INFINITY, 2^64 - 1, as JSON.parse reads it. */
const UNLIMITED = 2 ** 64

/** Those that are given, over the usual ones. */
export function rlimitsOf(usual: readonly Rlimit[], given: z.output<typeof ulimits> = []): Rlimit[] {
  const value = (limit: number): number => (limit === -1 ? UNLIMITED : limit)
  const own = given.map(({ name, soft, hard }) => ({
    type: `RLIMIT_${name.toUpperCase()}`,
    hard: value(hard),
    soft: value(soft),
  }))
  return [...usual.filter(({ type }) => own.every((each) => each.type !== type)).map((each) => ({ ...each })), ...own]
}

const UNLIMITED_AS_WRITTEN = /"(hard|soft)":18446744073709552000(?=[,}])/g

/** A part of a specification as JSON, with the one number that JavaScript cannot write; in a text its quotes would be escaped. */
export const specJson = (part: object): string =>
  JSON.stringify(part).replace(UNLIMITED_AS_WRITTEN, '"$1":18446744073709551615')
