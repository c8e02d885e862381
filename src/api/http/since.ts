import type { EventLog } from '../../log/event-log.ts'
import { positionAt } from '../../log/position.ts'
import { durationMs } from '../../model/duration-form.ts'
import { PurserError } from '../../model/errors.ts'

const INSTANT = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/

/**
 * A moment in the past: an RFC 3339 time, or how long ago as `15m` or `1h30m`.
 *
 * @param field the parameter it came in
 * @returns Unix time in milliseconds
 * @throws PurserError invalid_argument
 */
export function momentOf(text: string, nowMs: number, field = 'since'): number {
  const agoMs = durationMs(text)
  if (agoMs !== undefined) return nowMs - agoMs
  const timeMs = INSTANT.test(text) ? Date.parse(text) : Number.NaN
  if (!Number.isNaN(timeMs)) return timeMs
  throw new PurserError('invalid_argument', `${field}: ${JSON.stringify(text.slice(0, 100))} is not a moment`, {
    field,
    remedy: 'write a time such as 2026-01-31T12:00:00Z, or a duration such as 15m',
  })
}

/**
 * The time of a moment, which is itself a time, a duration or a position: then that of its event.
 *
 * @returns Unix time in milliseconds
 * @throws PurserError invalid_argument; out_of_range for a position that the log has not reached, or holds no more
 */
export async function timeOfMoment(log: EventLog, text: string, field: string): Promise<number> {
  if (!/^\d{1,15}$/.test(text)) return momentOf(text, Date.now(), field)
  const position = await positionOfMoment(log, text, field)
  for await (const event of log.read(position - 1, position)) return Date.parse(event.time)
  throw new PurserError('out_of_range', `${field}: the log does not hold event ${position}`, { field })
}

/**
 * The position at which the log stood at a moment, which is itself a position, a time or a duration.
 *
 * @throws PurserError invalid_argument; out_of_range for a position that the log has not reached
 */
export async function positionOfMoment(log: EventLog, text: string, field: string): Promise<number> {
  if (!/^\d{1,15}$/.test(text)) return await positionAt(log, momentOf(text, Date.now(), field) + 1)
  const position = Number(text)
  if (position <= log.head) return position
  throw new PurserError('out_of_range', `${field}: the log has reached event ${log.head}, not ${position}`, { field })
}
