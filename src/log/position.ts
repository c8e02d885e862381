import type { StoredEvent } from '../model/event.ts'
import type { EventLog } from './event-log.ts'

/**
 * The position of the last event before a moment, found by halving: events are in the order of their times.
 *
 * @param timeMs Unix time in milliseconds
 * @returns 0 when no event is older; what the log no longer holds counts as older
 */
export async function positionAt(log: EventLog, timeMs: number): Promise<number> {
  let before = 0
  let through = log.head
  while (before < through) {
    const middle = Math.ceil((before + through) / 2)
    const event = await eventAt(log, middle)
    if (event === undefined || Date.parse(event.time) < timeMs) before = middle
    else through = middle - 1
  }
  return before
}

async function eventAt(log: EventLog, position: number): Promise<StoredEvent | undefined> {
  for await (const event of log.read(position - 1, position)) return event
}
