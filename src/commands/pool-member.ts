import { z } from 'zod'
import { defineAggregate, type Entry, type Kind, refuse, type View } from '../model/aggregate.ts'
import { digestSchema } from '../model/digest.ts'
import { event } from '../model/event-schema.ts'
import { identifier } from '../model/ids.ts'

/** A label that the containers of a pool have: its name. */
export const POOL_LABEL = 'purser.io/pool'

const start = z.enum(['warm', 'cold']).describe('warm: it was ready; cold: it was started for the claim')

interface Member {
  pool: string
  /** Of the image that it was made from, once it has been ready. */
  manifest?: string
  madeAt: string
  /** Claims that it has served or serves. */
  uses: number
}

export type PoolMemberState =
  | { status: 'absent' }
  | ({ status: 'warming' | 'returned' } & Member)
  | ({ status: 'ready'; readyAt: string } & Member)
  | ({ status: 'claiming'; claim: string } & Member)
  | ({ status: 'claimed'; claim: string; start: z.output<typeof start>; claimedBy: string; claimedAt: string } & Member)
  | ({ status: 'retiring'; reason: string } & Member)

const absent = { status: 'absent' } as PoolMemberState
const members: Kind<PoolMemberState> = { name: 'pool-member', initial: absent }

/** A task of a pool, by the id of its container: warming, ready (frozen), claimed, retiring. */
export const poolMember = defineAggregate({
  name: 'pool-member',
  id: identifier,
  initial: absent,
  commands: {
    'pool-member.warm': z.strictObject({ pool: identifier }).describe('start a task ahead for a pool'),
    'pool-member.admit': z.strictObject({}).describe('wait until its task is ready, and freeze it'),
    'pool-member.retire': z.strictObject({ reason: z.string().max(256) }).describe('end a task of a pool'),
  },
  leadsTo: {
    'pool-member.warm': [
      'pool-member.warming',
      'container.run',
      'pool-member.admit',
      'container.remove',
      'pool-member.retired',
    ],
    'pool-member.admit': ['task.paused', 'pool-member.ready'],
    'pool-member.retire': ['pool-member.retiring', 'container.remove', 'pool-member.retired'],
  },
  events: {
    'pool-member.warming': event(1, 'a task is about to be started ahead', z.strictObject({ pool: identifier })),
    'pool-member.ready': event(
      1,
      'it is ready, and frozen until it is claimed',
      z.strictObject({ manifest: digestSchema }),
    ),
    'pool-member.claiming': event(1, 'it is about to be thawed for a claim', z.strictObject({})),
    'pool-member.claimed': event(
      1,
      'it is the caller’s',
      z.strictObject({ pool: identifier, start, claimedBy: z.string(), waitedMs: z.number().nonnegative() }),
    ),
    'pool-member.returned': event(1, 'the caller has handed it back; it is about to be reset', z.strictObject({})),
    'pool-member.retiring': event(1, 'it is about to end', z.strictObject({ reason: z.string() })),
    'pool-member.retired': event(1, 'it has ended and is removed', z.strictObject({})),
  },
  decide(state, { type, subject, payload }) {
    switch (type) {
      case 'pool-member.warm':
        if (state.status === 'absent') return [{ type: 'pool-member.warming', data: payload }]
        return refuse('already_exists', `${subject} is a task of pool ${state.pool}`, 'choose another id')
      case 'pool-member.admit':
        if (state.status === 'warming' || state.status === 'returned') return []
        return refuse(
          'failed_precondition',
          `${subject} is ${state.status}, neither warming nor returned`,
          'purser pool inspect NAME',
        )
      case 'pool-member.retire':
        if (state.status === 'absent') return refuse('not_found', `${subject} is no task of a pool`, 'purser pool ls')
        return [{ type: 'pool-member.retiring', data: payload }]
    }
  },
  evolve(state, event): PoolMemberState {
    if (state.status === 'absent') {
      const made = { madeAt: event.time, uses: 0 }
      if (event.type === 'pool-member.warming') return { status: 'warming', pool: event.data.pool, ...made }
      if (event.type !== 'pool-member.claimed') return state
      const { pool, start, claimedBy } = event.data
      return {
        status: 'claimed',
        claim: event.commandid,
        start,
        claimedBy,
        claimedAt: event.time,
        pool,
        ...made,
        uses: 1,
      }
    }
    const { pool, manifest, madeAt, uses } = state
    const member: Member = { pool, ...(manifest === undefined ? {} : { manifest }), madeAt, uses }
    switch (event.type) {
      case 'pool-member.warming':
        return state
      case 'pool-member.ready':
        return { status: 'ready', readyAt: event.time, ...member, manifest: event.data.manifest }
      case 'pool-member.claiming':
        return { status: 'claiming', claim: event.commandid, ...member }
      case 'pool-member.claimed': {
        const { start, claimedBy } = event.data
        return {
          status: 'claimed',
          claim: event.commandid,
          start,
          claimedBy,
          claimedAt: event.time,
          ...member,
          uses: uses + 1,
        }
      }
      case 'pool-member.returned':
        return { status: 'returned', ...member }
      case 'pool-member.retiring':
        return { status: 'retiring', reason: event.data.reason, ...member }
      case 'pool-member.retired':
        return absent
    }
  },
})

type PresentMember = Entry<Exclude<PoolMemberState, { status: 'absent' }>>

/** The tasks of a pool. */
export function membersOf(view: View, namespace: string, pool: string): PresentMember[] {
  const found: PresentMember[] = []
  for (const { state, ...entry } of view.list(members, namespace))
    if (state.status !== 'absent' && state.pool === pool) found.push({ ...entry, state })
  return found
}
