import { z } from 'zod'
import { defineAggregate } from '../model/aggregate.ts'
import { event } from '../model/event-schema.ts'

/** What happened to the log itself. */
export interface LogState {
  /** Position of the last event that retention has dropped; 0 when none was. */
  droppedThrough: number
  restorations: number
  quarantined: number
}

const untouched: LogState = { droppedThrough: 0, restorations: 0, quarantined: 0 }
const position = z.int().nonnegative()

/** The books' own entries: only the daemon makes them, no command does. Its one id is `node`. */
export const logBook = defineAggregate({
  name: 'log',
  id: z.literal('node', 'the subject of log events is "node"'),
  initial: untouched,
  commands: {},
  leadsTo: {},
  events: {
    'log.segments-dropped': event(
      1,
      'retention has dropped the oldest segments of the archive',
      z.strictObject({
        through: position,
        segments: z.int().positive(),
        bytes: z.int().nonnegative(),
      }),
    ),
    'log.entries-quarantined': event(
      1,
      'entries that somebody else wrote into the stream were taken out of it',
      z.strictObject({
        count: z.int().positive(),
        entries: z.array(z.string()).max(100),
        stream: z.string(),
      }),
    ),
    'log.event-lost': event(1, 'stands where an event was lost for good', z.strictObject({})),
    'log.restored': event(
      1,
      'the log in Redis was made anew from the archive',
      z.strictObject({
        archiveThrough: position,
        tailThrough: position,
        lost: z.strictObject({ first: position, last: position }).optional(),
      }),
    ),
  },
  decide: () => [],
  evolve(state, event): LogState {
    switch (event.type) {
      case 'log.segments-dropped':
        return { ...state, droppedThrough: event.data.through }
      case 'log.entries-quarantined':
        return { ...state, quarantined: state.quarantined + event.data.count }
      case 'log.restored':
        return { ...state, restorations: state.restorations + 1 }
      case 'log.event-lost':
        return { ...state }
    }
  },
})
