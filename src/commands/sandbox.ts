import { z } from 'zod'
import { defineAggregate, type Refusal, refuse, type View } from '../model/aggregate.ts'
import { event } from '../model/event-schema.ts'
import { identifier } from '../model/ids.ts'
import { networkMode } from '../oci/spec/network-mode.ts'
import { networkConflict } from '../oci/spec/network-options.ts'
import { mappedPort } from '../oci/spec/published-port.ts'
import { containers } from './container.ts'
import { containerNames } from './container-name.ts'
import { GRACE_MS_MAX } from './life.ts'
import {
  type MadeSandbox,
  type SandboxRecord,
  type SandboxState,
  sandboxes,
  sandboxRecord,
  sandboxRequest,
} from './sandbox-record.ts'
import { networkInterface, tasks } from './task.ts'

const attached = z
  .strictObject({ interfaces: z.array(networkInterface), ports: z.array(mappedPort) })
  .describe('in its networks, besides loopback, and the ports of the host that lead to it')

const instant = z.iso.datetime().describe('RFC 3339, UTC')

/** What containers share: namespaces, or whatever a shim keeps for them. */
export const sandbox = defineAggregate({
  name: 'sandbox',
  id: identifier,
  initial: sandboxes.initial,
  commands: {
    'sandbox.create': sandboxRequest.describe('make what containers are to share: namespaces, network, a shim'),
    'sandbox.start': z.strictObject({}).describe('have it run, so that containers can be started in it'),
    'sandbox.stop': z
      .strictObject({
        graceMs: z
          .int()
          .nonnegative()
          .max(GRACE_MS_MAX)
          .default(10_000)
          .describe('milliseconds for its containers to end by themselves, and then for the sandbox'),
      })
      .describe('end its containers and what they share'),
    'sandbox.halt': z
      .strictObject({ graceMs: z.int().nonnegative().max(GRACE_MS_MAX).default(10_000) })
      .describe('end what its containers have shared, once none of them runs'),
    'sandbox.delete': z
      .strictObject({
        inUse: z
          .enum(['refuse', 'remove'])
          .default('refuse')
          .describe('what to do when it runs or has containers; remove: end all, and remove the containers too'),
      })
      .describe('remove it'),
    'sandbox.discard': z.strictObject({}).describe('remove the record of one that has ended'),
  },
  leadsTo: {
    'sandbox.create': ['sandbox.creating', 'sandbox.created', 'sandbox.create-failed'],
    'sandbox.start': ['sandbox.starting', 'sandbox.started', 'sandbox.exited', 'sandbox.released'],
    'sandbox.stop': ['container.stop', 'sandbox.halt'],
    'sandbox.halt': ['sandbox.stopping', 'sandbox.exited', 'sandbox.released'],
    'sandbox.delete': ['container.remove', 'sandbox.halt', 'sandbox.discard'],
    'sandbox.discard': ['sandbox.deleting', 'sandbox.deleted'],
  },
  events: {
    'sandbox.creating': event(1, 'a sandbox is about to be made', sandboxRecord),
    'sandbox.created': event(
      1,
      'namespaces, network and shim are there',
      z.strictObject({ attached: attached.optional() }),
    ),
    'sandbox.create-failed': event(
      1,
      'it could not be made, and nothing of it is left',
      z.strictObject({ error: z.string() }),
    ),
    'sandbox.starting': event(1, 'it is about to be started', z.strictObject({})),
    'sandbox.started': event(
      1,
      'it runs; containers can be started in it',
      z.strictObject({
        startedAt: instant,
        pid: z.int().positive().optional().describe('of its own process, where it has one'),
        attached: attached.optional().describe('where it was made anew'),
      }),
    ),
    'sandbox.stopping': event(1, 'it is about to be ended', z.strictObject({})),
    'sandbox.exited': event(
      1,
      'it has ended, or was lost; what it held may still be there',
      z.strictObject({
        exitedAt: instant,
        exitCode: z.int().min(0).max(255).optional().describe('where its shim has told one'),
        reason: z.string().optional().describe('why, when nobody has asked for it'),
      }),
    ),
    'sandbox.released': event(1, 'its namespaces, shim and network are gone', z.strictObject({})),
    'sandbox.deleting': event(1, 'it is about to be removed', z.strictObject({})),
    'sandbox.deleted': event(1, 'it is gone', z.strictObject({})),
  },
  decide(state, { type, namespace, subject, payload }, view) {
    if (type === 'sandbox.create') {
      // The handler knows the runtime.
      const data = { ...payload, runtime: payload.runtime ?? '' }
      const refusal = taken(state, namespace, subject, view) ?? conflicting(data)
      return refusal ?? [{ type: 'sandbox.creating', data }]
    }
    if (state.status === 'absent') return unknown(subject, namespace)
    switch (type) {
      case 'sandbox.start':
        if (state.status === 'created' || state.status === 'stopped') return [{ type: 'sandbox.starting', data: {} }]
        return refuse(
          'failed_precondition',
          `sandbox ${subject} is ${state.status}`,
          `purser sandbox inspect ${subject}`,
        )
      case 'sandbox.halt': {
        const live = liveIn(view, namespace, subject)
        if (live.length > 0) return inUse(subject, live, ['runs in it', 'run in it'], `purser sandbox stop ${subject}`)
        if (state.status === 'stopped' || state.status === 'deleting') return []
        return [{ type: 'sandbox.stopping', data: {} }]
      }
      case 'sandbox.delete': {
        if (payload.inUse === 'remove') return []
        const members = membersOf(view, namespace, subject)
        if (members.length > 0)
          return inUse(subject, members, ['is in it', 'are in it'], `purser rm them, or sandbox rm -f ${subject}`)
        if (state.status !== 'running') return []
        return refuse(
          'failed_precondition',
          `sandbox ${subject} is running`,
          `purser sandbox stop ${subject} first, or sandbox rm -f`,
        )
      }
      case 'sandbox.discard':
        if (state.status === 'stopped' || state.status === 'deleting') return [{ type: 'sandbox.deleting', data: {} }]
        return refuse('failed_precondition', `sandbox ${subject} is ${state.status}`, `purser sandbox stop ${subject}`)
      case 'sandbox.stop':
        return []
    }
  },
  evolve(state, event): SandboxState {
    if (event.type === 'sandbox.creating') {
      return { status: 'creating', made: { ...event.data, createdAt: event.time } }
    }
    if (state.status === 'absent') return state
    const { made } = state
    switch (event.type) {
      case 'sandbox.created':
        return { status: 'created', made: connected(made, event.data.attached) }
      case 'sandbox.starting':
        return { status: 'starting', made }
      case 'sandbox.started': {
        const { attached, ...running } = event.data
        return { status: 'running', made: connected(made, attached), ...running }
      }
      case 'sandbox.stopping':
        return { status: 'stopping', made, ...('startedAt' in state ? { startedAt: state.startedAt } : {}) }
      case 'sandbox.exited':
        return { status: 'stopped', made, ...event.data, host: 'held' }
      case 'sandbox.released':
        return state.status === 'stopped' ? { ...state, host: 'released' } : state
      case 'sandbox.deleting':
        return { status: 'deleting', made }
      case 'sandbox.create-failed':
      case 'sandbox.deleted':
        return sandboxes.initial
    }
  },
})

const connected = (made: MadeSandbox, attached: MadeSandbox['attached']): MadeSandbox =>
  attached === undefined ? made : { ...made, attached }

/** A container may have its id: a shim knows both by it. */
function taken(state: SandboxState, namespace: string, id: string, view: View): Refusal | undefined {
  const holder =
    state.status !== 'absent'
      ? 'sandbox'
      : view.get(containers, namespace, id).status !== 'absent' ||
          view.get(containerNames, namespace, id).status !== 'absent'
        ? 'container'
        : undefined
  return holder && refuse('already_exists', `${holder} ${id} exists in namespace ${namespace}`, 'choose another name')
}

/** Without a network it is in the one that the node has for those, which is looked at when that is known. */
function conflicting(record: SandboxRecord): Refusal | undefined {
  const conflict = record.network === undefined ? ownConflict(record) : recordConflict(record)
  return conflict && refuse('invalid_argument', `${conflict.field}: ${conflict.message}`, 'leave it out')
}

/** What does not go together. */
export const recordConflict = (record: SandboxRecord): { field: string; message: string } | undefined =>
  networkConflict(record) ?? ownConflict(record)

function ownConflict({ network, ipc, shmBytes }: SandboxRecord): { field: string; message: string } | undefined {
  if (networkMode(network)?.kind === 'container') {
    return { field: 'network', message: `a sandbox has a network of its own, or the host's, not ${network}` }
  }
  if (ipc === 'host' && shmBytes !== undefined) {
    return { field: 'shmBytes', message: "with ipc host /dev/shm is the host's, whose size it keeps" }
  }
  return undefined
}

const NAMED_MAX = 5

/** @param how of one, and of many */
function inUse(id: string, containers: readonly string[], how: readonly [string, string], remedy: string): Refusal {
  const [who, does] = containers.length === 1 ? ['container', how[0]] : ['containers', how[1]]
  const names = containers.slice(0, NAMED_MAX).join(', ')
  return refuse('failed_precondition', `sandbox ${id} is in use: ${who} ${names} ${does}`, remedy)
}

/** Ids of the containers in a sandbox. */
export const membersOf = (view: View, namespace: string, id: string): string[] =>
  [...view.list(containers, namespace)].flatMap((each) =>
    each.state.status !== 'absent' && each.state.sandbox === id ? [each.id] : [],
  )

/** Of these, those whose task has not ended. */
export const liveIn = (view: View, namespace: string, id: string): string[] =>
  membersOf(view, namespace, id).filter((member) => {
    const { status } = view.get(tasks, namespace, member)
    return status !== 'absent' && status !== 'stopped'
  })

const unknown = (id: string, namespace: string): Refusal =>
  refuse('not_found', `sandbox ${id} is not in namespace ${namespace}`, 'purser sandbox ls')
