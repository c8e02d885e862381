import type { StoredEvent } from '../model/event.ts'
import type { EventLog } from './event-log.ts'

/**
 * The position of the last event before a moment, found by halving: events are in the order of their times, but for a
 * clock that was set back.
 *
 * @param timeMs Unix time in milliseconds
 * @returns 0 when no event is older; what the log no longer holds counts as older
 */
export async function positionAt(log: EventLog, timeMs: number): Promise<number> {
  const { sealed } = log
  let before = sealed?.last ?? 0
  if (sealed && before > 0) {
    const found = await sealed.positionBefore(timeMs)
    if (found < before) return found
  }
  let through = log.head
  while (before < through) {
    const middle = Math.ceil((before + through) / 2)
    const event = await eventAt(log, middle)
    if (event === undefined || Date.parse(event.time) < timeMs) before = middle
    else through = middle - 1
  }
  return before
}

/** How far from the time in an event's id its place in the log may be. */
const ID_SLACK_MS = 60_000

/** @param id UUIDv7 of an event @returns its position; undefined when the log does not hold it */
export async function positionOfEvent(log: EventLog, id: string): Promise<number | undefined> {
  const timeMs = Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16)
  for await (const event of log.read(await positionAt(log, timeMs - ID_SLACK_MS))) {
    if (event.id === id) return event.position
    if (Date.parse(event.time) > timeMs + ID_SLACK_MS) break
  }
  // A clock that was set back has put it elsewhere: all lines are searched, and only those parsed that name it.
  for await (const { position, line } of log.readLines(0))
    if (line.includes(id) && JSON.parse(line.toString()).id === id) return position
  return undefined
}

async function eventAt(log: EventLog, position: number): Promise<StoredEvent | undefined> {
  for await (const event of log.read(position - 1, position)) return event
}
