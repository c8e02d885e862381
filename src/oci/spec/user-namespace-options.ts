import { z } from 'zod'
import { ID_MAX } from './users.ts'

/** How ids of a container are ids of the host. */
export type UsernsMode =
  | { kind: 'host' | 'auto' }
  /** From 0 on, so many of the container are those of the host from these on. */
  | { kind: 'mapped'; hostUid: number; hostGid: number; size: number }

/** @returns undefined for what is not written as one */
export function usernsMode(text: string | undefined): UsernsMode | undefined {
  if (text === undefined || text === 'host') return { kind: 'host' }
  if (text === 'auto') return { kind: 'auto' }
  const numbers = /^(\d{1,10}):(\d{1,10}):(\d{1,10})$/.exec(text)?.slice(1).map(Number)
  const [hostUid = 0, hostGid = 0, size = 0] = numbers ?? []
  const isWithin = hostUid > 0 && hostGid > 0 && size > 0 && Math.max(hostUid, hostGid) + size - 1 <= ID_MAX
  return numbers !== undefined && isWithin ? { kind: 'mapped', hostUid, hostGid, size } : undefined
}

export const userns = z
  .string()
  .max(40)
  .refine((text) => usernsMode(text) !== undefined, {
    error: ({ input }) =>
      `${JSON.stringify(input)} is none of: host, auto, UID:GID:SIZE with ids of the host from 1 to ${ID_MAX}`,
  })
  .optional()
  .describe("whose ids its own are: the host's (the default), those of a range of its own (auto), or UID:GID:SIZE")
