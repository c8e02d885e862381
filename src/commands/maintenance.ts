import { z } from 'zod'
import { defineAggregate, refuse } from '../model/aggregate.ts'
import { event } from '../model/event-schema.ts'

export type MaintenanceState =
  | { status: 'none' }
  | { status: 'announced'; reason: string; startedAt: string; until?: string | undefined }

const window = z.strictObject({
  reason: z.string().min(1).max(1024).describe('what is done: shown with the silence'),
  until: z.iso.datetime().optional().describe('RFC 3339, UTC: ends by itself then'),
})

/**
 * Times in which changes are made to the node on purpose: the alerts that ship are silent. Its one id is `node`; each
 * namespace may announce one, and the node is in maintenance while one of them goes on.
 */
export const maintenance = defineAggregate({
  name: 'maintenance',
  id: z.literal('node', 'the subject of maintenance is "node"'),
  initial: { status: 'none' } as MaintenanceState,
  commands: {
    'maintenance.start': window.describe('announce changes to the node; alerts are silent until they end'),
    'maintenance.stop': z.strictObject({}).describe('say that the changes are done'),
  },
  leadsTo: { 'maintenance.start': ['maintenance.started'], 'maintenance.stop': ['maintenance.stopped'] },
  events: {
    'maintenance.started': event(1, 'changes to the node are announced', window),
    'maintenance.stopped': event(1, 'the changes to the node are done', z.strictObject({})),
  },
  decide(state, { type, payload, issuedAt, namespace }) {
    switch (type) {
      case 'maintenance.start':
        if (payload.until !== undefined && Date.parse(payload.until) <= Date.parse(issuedAt))
          return refuse('invalid_argument', `until: ${payload.until} is over`, 'name a time to come, or none')
        // Once more moves the end.
        return [{ type: 'maintenance.started', data: payload }]
      case 'maintenance.stop':
        if (state.status === 'none')
          return refuse(
            'failed_precondition',
            `namespace ${namespace} has announced no maintenance`,
            'purser maintenance start REASON',
          )
        return [{ type: 'maintenance.stopped', data: {} }]
    }
  },
  evolve(_state, event): MaintenanceState {
    switch (event.type) {
      case 'maintenance.started':
        return { status: 'announced', ...event.data, startedAt: event.time }
      case 'maintenance.stopped':
        return maintenance.initial
    }
  },
})

/** Whether it goes on at a time. @param timeMs Unix time in milliseconds */
export const maintenanceAt = (state: MaintenanceState, timeMs: number): boolean =>
  state.status === 'announced' && (state.until === undefined || Date.parse(state.until) > timeMs)
