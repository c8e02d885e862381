import { z } from 'zod'
import { defineAggregate, refuse } from '../model/aggregate.ts'
import { type CommandEnvelope, commandEnvelope } from '../model/command.ts'
import { ERROR_CODES, type ErrorBody, type ErrorCode } from '../model/errors.ts'
import { event } from '../model/event-schema.ts'

export const errorBody = z.strictObject({
  code: z.enum(Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]]),
  message: z.string(),
  remedy: z.string().optional(),
  field: z.string().optional(),
})

const result = z.record(z.string(), z.unknown())

interface Known {
  command: CommandEnvelope
  /** How often a worker began it. */
  attempts: number
  startedAt?: string
  cancelRequested?: true
}

export type CommandState =
  | { status: 'absent' }
  | ({ status: 'accepted' | 'running' } & Known)
  | ({ status: 'succeeded'; endedAt: string; result: z.output<typeof result> } & Known)
  | ({ status: 'failed' | 'cancelled'; endedAt: string; error: ErrorBody } & Known)

export type ActiveCommand = Extract<CommandState, { status: 'accepted' | 'running' }>
export type EndedCommand = Extract<CommandState, { endedAt: string }>

export const isActive = (state: CommandState): state is ActiveCommand =>
  state.status === 'accepted' || state.status === 'running'
export const isEnded = (state: CommandState): state is EndedCommand =>
  state.status === 'succeeded' || state.status === 'failed' || state.status === 'cancelled'

/** The life of every other command: accepted, started (once an attempt), ended by exactly one outcome. */
export const command = defineAggregate({
  name: 'command',
  id: z.uuid('a command id is a UUID'),
  initial: { status: 'absent' } as CommandState,
  commands: { 'command.cancel': z.strictObject({}).describe('ask for a command to be cancelled') },
  leadsTo: { 'command.cancel': ['command.cancel-requested'] },
  events: {
    'command.accepted': event(
      2,
      'a command is durable: it will be carried out, or end with a reason',
      z.strictObject({ command: commandEnvelope }),
      (data) => data, // Version 2 may say what came with the command and is not recorded.
    ),
    'command.started': event(
      1,
      'a worker has begun an attempt at it',
      z.strictObject({ attempt: z.int().positive(), worker: z.string() }),
    ),
    'command.cancel-requested': event(1, 'somebody asked for it to be cancelled', z.strictObject({})),
    'command.succeeded': event(
      1,
      'its outcome: done, with a result',
      z.strictObject({ result, durationMs: z.number().nonnegative() }),
    ),
    'command.failed': event(
      1,
      'its outcome: refused or failed, with a reason and a remedy',
      z.strictObject({ error: errorBody, durationMs: z.number().nonnegative() }),
    ),
    'command.cancelled': event(
      1,
      'its outcome: cancelled before it was done',
      z.strictObject({ error: errorBody, durationMs: z.number().nonnegative() }),
    ),
  },
  decide(state, { subject }) {
    if (isActive(state)) return state.cancelRequested ? [] : [{ type: 'command.cancel-requested', data: {} }]
    if (state.status === 'absent') return refuse('not_found', `command ${subject} is not known`, 'purser command ls')
    return refuse('failed_precondition', `command ${subject} has ${state.status} already`, 'there is nothing to cancel')
  },
  evolve(state, event): CommandState {
    if (event.type === 'command.accepted') return { status: 'accepted', command: event.data.command, attempts: 0 }
    if (!isActive(state)) return state
    const { command, attempts, startedAt, cancelRequested } = state
    const known: Known = {
      command,
      attempts,
      ...(startedAt === undefined ? {} : { startedAt }),
      ...(cancelRequested === undefined ? {} : { cancelRequested }),
    }
    switch (event.type) {
      case 'command.started':
        return { status: 'running', ...known, attempts: event.data.attempt, startedAt: startedAt ?? event.time }
      case 'command.cancel-requested':
        return { ...state, cancelRequested: true }
      case 'command.succeeded':
        return { status: 'succeeded', ...known, endedAt: event.time, result: event.data.result }
      case 'command.failed':
        return { status: 'failed', ...known, endedAt: event.time, error: event.data.error }
      case 'command.cancelled':
        return { status: 'cancelled', ...known, endedAt: event.time, error: event.data.error }
    }
  },
})
