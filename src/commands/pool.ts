import { z } from 'zod'
import { defineAggregate, type Kind, refuse } from '../model/aggregate.ts'
import { event } from '../model/event-schema.ts'
import { identifier } from '../model/ids.ts'
import { labels } from '../model/labels.ts'
import { httpProbe, tcpProbe } from '../oci/health-check.ts'
import { provision } from './container.ts'
import { membersOf, poolMember } from './pool-member.ts'

const MEMBERS_MAX = 1000
const text = z.string().min(1).max(4096)

/** How it is told that a task is ready to be claimed. */
export const probe = z
  .discriminatedUnion('type', [
    z.strictObject({ type: z.literal('exec'), args: z.array(text).min(1).max(64) }).describe('a program that exits 0'),
    z
      .strictObject({ type: z.literal('file'), path: text.startsWith('/') })
      .describe('a path in the container is there'),
    httpProbe,
    z.strictObject({ type: z.literal('log'), text }).describe('a line of its output holds this text'),
    tcpProbe,
    z.strictObject({ type: z.literal('wait') }).describe('a process waits on the FIFO /run/purser/claim'),
  ])
  .describe('without one a task is ready as soon as it runs')
export type Probe = z.output<typeof probe>

const sizing = z
  .strictObject({
    min: z.int().min(0).max(MEMBERS_MAX).describe('tasks that are kept ready, at least'),
    max: z.int().min(0).max(MEMBERS_MAX).optional().describe('and at most; min without it'),
    hitRatio: z
      .number()
      .gt(0)
      .lt(1)
      .optional()
      .describe('share of the claims that shall find one ready: between min and max by the rate of arrivals'),
  })
  .refine(({ min, max = min }) => min <= max, 'min is above max')
export type Sizing = z.output<typeof sizing>

const reuse = z
  .discriminatedUnion('mode', [
    z.strictObject({ mode: z.literal('fresh') }).describe('each task serves one claim'),
    z
      .strictObject({
        mode: z.literal('reuse'),
        usesMax: z.int().min(1).optional(),
        ageMsMax: z.int().min(1000).optional().describe('milliseconds'),
        reset: z.array(text).min(1).max(64).optional().describe('program that has to exit 0 before it is ready again'),
      })
      .describe('a task that is handed back is reset, checked and claimed again'),
  ])
  .default({ mode: 'fresh' })

const poolSpec = z.strictObject({
  template: provision
    .omit({ onExit: true, pull: true, restart: true, sandbox: true })
    .describe('what its containers are made from'),
  sizing,
  ready: probe.optional(),
  readyMs: z.int().min(1).max(3_600_000).default(60_000).describe('milliseconds that a task has to become ready'),
  reuse,
  reclaimMemory: z.boolean().default(false).describe('have the kernel take back what a frozen task does not need'),
  tasksMax: z.int().min(1).max(MEMBERS_MAX).default(MEMBERS_MAX).describe('ready and claimed ones together, at most'),
})
export type PoolSpec = z.output<typeof poolSpec>

export type PoolState =
  | { status: 'absent' }
  | ({ status: 'present' | 'draining' | 'deleting'; createdAt: string; fault?: PoolFault } & PoolSpec)

/** Why its tasks cannot be made ready. */
export interface PoolFault {
  since: string
  error: string
}

const absent = { status: 'absent' } as PoolState
export const pools: Kind<PoolState> = { name: 'pool', initial: absent }

const claim = z.strictObject({
  env: z
    .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'a variable is letters, digits and _'), z.string().max(32_768))
    .default({})
    .describe('variables for this call, in /run/purser/env'),
  labels: labels.default({}).describe('set on its container'),
  payload: z
    .string()
    .max(65_536)
    .optional()
    .describe('for the process: in /run/purser/claim.json, and on standard input'),
  whenEmpty: z
    .enum(['cold', 'wait', 'refuse'])
    .default('cold')
    .describe('no task is ready: start one now, wait for one until the deadline, or fail at once'),
})
export type Claim = z.output<typeof claim>

/** Tasks that are started ahead and frozen, so that one can be had in a moment. Its members are aggregates of their own. */
export const pool = defineAggregate({
  name: 'pool',
  id: identifier.max(60, 'a pool has 60 characters at most'),
  initial: absent,
  commands: {
    'pool.create': poolSpec.describe('keep tasks of an image ready to be claimed'),
    'pool.scale': sizing.describe('change how many tasks are kept ready'),
    'pool.claim': claim.describe('take a ready task: it is thawed, and is the caller’s'),
    'pool.release': z
      .strictObject({ id: identifier.describe('the container that was claimed') })
      .describe('hand a claimed task back'),
    'pool.drain': z.strictObject({}).describe('end the tasks that are ready, and make no more'),
    'pool.delete': z
      .strictObject({
        claimed: z.enum(['refuse', 'remove']).default('refuse').describe('what becomes of tasks that are claimed'),
      })
      .describe('remove a pool and its tasks'),
  },
  leadsTo: {
    'pool.create': ['pool.created'],
    'pool.scale': ['pool.scaled'],
    'pool.claim': [
      'pool-member.claiming',
      'pool-member.claimed',
      'pool-member.retiring',
      'task.resumed',
      'container.labelled',
      'container.run',
      'container.remove',
    ],
    'pool.release': ['pool-member.returned', 'pool-member.admit', 'pool-member.retire'],
    'pool.drain': ['pool.draining'],
    'pool.delete': ['pool.deleting', 'pool-member.retire', 'pool.deleted'],
  },
  events: {
    // Since version 2 a template may leave the runtime to the node.
    'pool.created': event(
      15,
      'tasks are to be kept ready',
      poolSpec,
      (data) => data,
      (data) => data, // Version 3 knows networks by name, and what goes with them.
      (data) => data, // Version 4 may say how its containers live: an init, how long a stop waits.
      (data) => data, // Version 5 knows how far a container is kept apart from the host.
      (data) => data, // Version 6 knows user namespaces.
      (data) => data, // Version 7 may say how health is told.
      (data) => data, // Version 8 knows devices that vendors describe.
      (data) => data, // Version 9 may say which cgroup its own is in.
      (data) => data, // Version 10 may bound what is written beside the image.
      (data) => data, // Version 11 may mount files of other images.
      (data) => data, // Version 12 may say what becomes of their output.
      (data) => data, // Version 13 may have more names in its networks.
      (data) => data, // Version 14 may leave ports to be chosen, and have an IPv6 address.
      (data) => data, // Version 15 may say what is done about what is unhealthy.
    ),
    'pool.scaled': event(1, 'how many are kept ready was changed', sizing),
    'pool.degraded': event(1, 'its tasks do not become ready', z.strictObject({ error: z.string() })),
    'pool.restored': event(1, 'one of its tasks became ready again', z.strictObject({})),
    'pool.draining': event(1, 'no more are made, and those that are ready end', z.strictObject({})),
    'pool.deleting': event(1, 'the pool is about to go, and its tasks before it', z.strictObject({})),
    'pool.deleted': event(1, 'the pool and its tasks are gone', z.strictObject({})),
  },
  decide(state, { type, namespace, subject, payload }, view) {
    if (type === 'pool.create') {
      if (state.status === 'absent') return [{ type: 'pool.created', data: payload }]
      return refuse(
        'already_exists',
        `pool ${subject} exists in namespace ${namespace}`,
        `choose another name, or purser pool rm ${subject}`,
      )
    }
    if (state.status === 'absent')
      return refuse('not_found', `pool ${subject} is not in namespace ${namespace}`, 'purser pool ls')
    switch (type) {
      case 'pool.scale':
        if (state.status === 'deleting') return isGoing(subject)
        return [{ type: 'pool.scaled', data: payload }]
      case 'pool.claim':
        if (state.status === 'present') return []
        return refuse(
          'failed_precondition',
          `pool ${subject} is ${state.status}`,
          `purser pool scale ${subject} SIZE fills it again`,
        )
      case 'pool.release': {
        const member = view.get(poolMember, namespace, payload.id)
        if (member.status === 'claimed' && member.pool === subject) return []
        return refuse(
          'failed_precondition',
          `container ${payload.id} is not claimed from pool ${subject}`,
          `purser pool inspect ${subject}`,
        )
      }
      case 'pool.drain':
        return state.status === 'present' ? [{ type: 'pool.draining', data: {} }] : []
      case 'pool.delete': {
        const claimed = membersOf(view, namespace, subject).filter(
          ({ state }) => state.status === 'claimed' || state.status === 'claiming',
        )
        if (claimed.length === 0 || payload.claimed === 'remove')
          return state.status === 'deleting' ? [] : [{ type: 'pool.deleting', data: {} }]
        return refuse(
          'failed_precondition',
          `pool ${subject} has ${claimed.length} claimed tasks: ${claimed[0]?.id}`,
          `release them, or purser pool rm -f ${subject}`,
        )
      }
    }
  },
  evolve(state, event): PoolState {
    if (event.type === 'pool.created') return { status: 'present', ...event.data, createdAt: event.time }
    if (state.status === 'absent') return state
    switch (event.type) {
      case 'pool.scaled':
        // Filled again after it was drained.
        return { ...state, status: 'present', sizing: event.data }
      case 'pool.degraded':
        return { ...state, fault: { since: event.time, error: event.data.error } }
      case 'pool.restored': {
        const { fault: _, ...restored } = state
        return restored
      }
      case 'pool.draining':
        return { ...state, status: 'draining' }
      case 'pool.deleting':
        return { ...state, status: 'deleting' }
      case 'pool.deleted':
        return absent
    }
  },
})

const isGoing = (subject: string) =>
  refuse('failed_precondition', `pool ${subject} is being removed`, 'make another one')
