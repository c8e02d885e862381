import { z } from 'zod'
import { defineAggregate } from '../model/aggregate.ts'
import { event } from '../model/event-schema.ts'

const asked = {
  surface: z.string().describe('http'),
  method: z.string().max(32),
  target: z.string().max(4096).describe('path without its query'),
}

/** Requests that became no command, kept for the audit trail; they have no state. */
export const request = defineAggregate({
  name: 'request',
  id: z.uuid(),
  initial: { status: 'absent' },
  commands: {},
  leadsTo: {},
  events: {
    'request.read': event(
      1,
      'a request that only read, where reads are audited',
      z.strictObject({ ...asked, status: z.int() }),
    ),
    'request.refused': event(
      1,
      'a request that became no command',
      z.strictObject({ ...asked, code: z.string(), message: z.string() }),
    ),
  },
  decide: () => [],
  evolve: (state) => state,
})
