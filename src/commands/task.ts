import { z } from 'zod'
import { defineAggregate, type Kind, type Refusal, refuse } from '../model/aggregate.ts'
import { event } from '../model/event-schema.ts'
import { identifier } from '../model/ids.ts'
import { type HealthCheck, healthCheck } from '../oci/health-check.ts'
import { isSignal, parseSignal } from '../oci/signals.ts'
import { containerOptions } from '../oci/spec/container-options.ts'
import { resourceConflict } from '../oci/spec/limits.ts'
import { type MappedPort, mappedPort } from '../oci/spec/published-port.ts'
import { checkpointRequest } from './checkpoints.ts'
import { type ExecState, type Execs, execProcess, notRunning, withExit } from './task-execs.ts'

const pid = z.int().positive()
const exitCode = z.int().min(0).max(255)
const instant = z.iso.datetime().describe('RFC 3339, UTC')

const resources = containerOptions.shape.resources.unwrap()

const signal = z.string().max(16).refine(isSignal, 'a signal is SIGTERM, TERM or 15; see kill -l')

const sent = z.strictObject({ signal: z.int().nonnegative(), target: z.string(), execId: z.string().optional() })

/** What a stop goes through until the task has ended: each phase has its time, and the next one is harder. */
export const STOP_PHASES = ['ask', 'kill', 'kill-cgroup', 'kill-shim', 'clean-up'] as const
export type StopPhase = (typeof STOP_PHASES)[number]

/** How far a stop is: until when its phase lasts, and which command it is of. */
export interface Stop {
  phase: StopPhase
  until: string
  by: string
}

export const HEALTH_STATUSES = ['starting', 'healthy', 'unhealthy'] as const

/** Whether a task is well, as far as its probes tell. */
export interface Health {
  check: HealthCheck
  status: (typeof HEALTH_STATUSES)[number]
  /** Since when; from its start while it is starting. */
  since?: string
  /** What the probe that decided it ended with. */
  detail?: string
}

/** What holds a task that did not end. */
const evidence = z.strictObject({
  processes: z
    .array(
      z.strictObject({
        pid: z.int(),
        command: z.string(),
        state: z.string().describe('as ps(1) has it: D hangs in the kernel'),
        waitsIn: z.string().optional().describe('function of the kernel that it waits in'),
        stack: z.array(z.string()).describe('of the kernel, innermost first; empty where it may not be read'),
      }),
    )
    .describe('that are left in its cgroup'),
  mounts: z.array(z.string()).describe('of its files that are still there'),
  holders: z
    .array(z.strictObject({ pid: z.int(), command: z.string() }))
    .describe('other processes that see these mounts'),
})
export type StuckEvidence = z.output<typeof evidence>

export const networkInterface = z.strictObject({
  network: z.string(),
  name: z.string().describe('in the container'),
  mac: z.string().optional(),
  addresses: z.array(z.string()).describe('with their prefix'),
  gateway: z.string().optional(),
})
export type NetworkInterface = z.output<typeof networkInterface>

const oomVictim = z.strictObject({ pid: pid.describe('on the host'), name: z.string() })
type OomVictim = z.output<typeof oomVictim>

const mappedIds = z.strictObject({
  hostUid: z.int().positive(),
  hostGid: z.int().positive(),
  size: z.int().positive(),
})
type MappedIds = z.output<typeof mappedIds>

interface Made {
  runtime: string
  /** The outermost command that asked for it: how a composite command knows its own task again after a restart. */
  origin: string
  /** The command that sent the last signal, or was about to. */
  lastKill?: string
  /** How far its stop is; absent while nobody has asked for one. */
  stop?: Stop
  /** It did not end by any phase of its stop, or could not be removed. */
  stuck?: StuckEvidence & { since: string }
  /** In networks, besides loopback; absent when it is in none, and again once it has ended. */
  interfaces?: NetworkInterface[]
  /** Of the host that lead to it, where it is in networks. */
  ports?: MappedPort[]
  /** The network that is not as it was made, where its plugins have found one; absent again once it has ended. */
  networkFault?: { network: string; error: string; since: string }
  /** Of the host, from 0 on in its user namespace; absent where it has the host's, and again once it has ended. */
  ids?: MappedIds
  /** The last process that the kernel has ended for want of memory, where its log tells. */
  oomVictim?: OomVictim
  /** A checkpoint that is being made: by which command, and whether its processes end with it. */
  checkpointing?: { name: string; processes: 'end' | 'go-on'; by: string }
}

interface Live extends Made {
  pid: number
  createdAt: string
  /** Number of the signal that asks it to end. */
  stopSignal: number
  /** Where it has a check. */
  health?: Health
  execs: Execs
}

export type TaskState =
  | { status: 'absent' }
  | ({ status: 'creating'; since: string } & Made)
  | ({ status: 'created' } & Live)
  | ({ status: 'running' | 'paused'; startedAt: string; oomKills: number } & Live)
  | StoppedTask

export interface StoppedTask extends Made {
  status: 'stopped'
  exitCode: number
  exitedAt: string
  startedAt?: string
  /** Why, when it was not the process's own exit: `oom`, `timeout`, `lost: …`. */
  reason?: string
  oomKills: number
  /** Whether shim, mounts and cgroup still hold on. */
  host: 'held' | 'released'
}

const absent = { status: 'absent' } as TaskState
export const tasks: Kind<TaskState> = { name: 'task', initial: absent }

/** Why a task was lost that ran when the kernel was booted. */
export const REBOOT = 'the machine was rebooted'

export const task = defineAggregate({
  name: 'task',
  id: identifier,
  initial: absent,
  commands: {
    'task.create': z
      .strictObject({
        checkpoint: identifier
          .optional()
          .describe('of its container: its processes go on from there, and are not started'),
      })
      .describe('make a process that waits to be started'),
    'task.start': z.strictObject({}).describe('have the process run'),
    'task.exec': execProcess.extend({ execId: identifier }).describe('start another process in a running task'),
    'task.kill': z
      .strictObject({
        signal: signal.default('SIGTERM'),
        target: z
          .enum(['init', 'all'])
          .default('init')
          .describe('the first process, or all in the container; of an exec: it alone, or what it has started too'),
        execId: identifier.optional(),
      })
      .describe('send a signal'),
    'task.destroy': z
      .strictObject({
        phase: z
          .enum(['kill-cgroup', 'kill-shim', 'clean-up'])
          .describe('kill all in its cgroup; its shim; or remove whatever is left, and look at what holds it'),
        withinMs: z.int().positive().max(3_600_000).default(60_000).describe('milliseconds that it may take'),
      })
      .describe('end it by force, past its runtime: what a stop does when SIGKILL was not enough'),
    'task.pause': z.strictObject({}).describe('freeze all processes'),
    'task.resume': z.strictObject({}).describe('let frozen processes go on'),
    'task.update': z.strictObject({ resources }).describe('change limits'),
    'task.checkpoint': checkpointRequest.describe(
      'write the state of its processes to disk, for them to go on from there',
    ),
    'task.delete': z.strictObject({}).describe('remove an ended or never started task'),
  },
  leadsTo: {
    'task.create': [
      'task.creating',
      'container.volumes-made',
      'task.network-attaching',
      'task.network-attached',
      'task.ids-mapped',
      'task.created',
      'task.started',
      'task.create-failed',
    ],
    'task.start': ['task.started'],
    'task.exec': ['task.exec-starting', 'task.exec-started', 'task.exec-failed', 'task.exec-exited'],
    'task.kill': ['task.killing', 'container.wanted', 'task.killed'],
    'task.destroy': ['task.exited', 'task.stuck', 'task.released'],
    'task.pause': ['task.paused'],
    'task.resume': ['task.resumed'],
    'task.update': ['task.updated'],
    'task.checkpoint': [
      'task.checkpointing',
      'container.wanted',
      'task.checkpointed',
      'container.checkpoint-kept',
      'task.checkpoint-failed',
    ],
    'task.delete': ['task.deleted'],
  },
  events: {
    'task.creating': event(1, 'a task is about to be created', z.strictObject({ runtime: z.string() })),
    'task.network-attaching': event(
      1,
      'it is about to be taken into networks',
      z.strictObject({ networks: z.array(z.string()) }),
    ),
    'task.network-detaching': event(
      1,
      'it is about to be taken out of a network',
      z.strictObject({ network: z.string() }),
    ),
    'task.network-attached': event(
      2,
      'it is in its networks, with these addresses, and these ports of the host lead to it',
      z.strictObject({ interfaces: z.array(networkInterface), ports: z.array(mappedPort) }),
      ({ interfaces }) => ({ interfaces, ports: [] }), // Version 2 knows ports: they were those of the container's options.
    ),
    'task.network-degraded': event(
      1,
      'one of its networks is not as it was made: what the plugins find',
      z.strictObject({ network: z.string(), error: z.string() }),
    ),
    'task.network-restored': event(1, 'its networks are as they were made again', z.strictObject({})),
    'task.ids-mapped': event(1, 'ids of its user namespace, from 0 on, are these of the host', mappedIds),
    'task.created': event(
      3,
      'its process waits to be started',
      z.strictObject({
        pid,
        stopSignal: z.int().positive(),
        health: healthCheck.optional().describe('how it is told whether it is well'),
      }),
      (data) => data, // Version 2 may have a health check.
      (data) => data, // Version 3 may say what is done about what is unhealthy.
    ),
    'task.create-failed': event(
      1,
      'it could not be created, and nothing of it is left',
      z.strictObject({ error: z.string() }),
    ),
    'task.started': event(1, 'its process runs', z.strictObject({ pid, startedAt: instant })),
    'task.exited': event(
      1,
      'its process has ended, or was lost; the exit status',
      z.strictObject({
        exitCode,
        exitedAt: instant,
        reason: z.string().optional(),
        oomKills: z.int().nonnegative().default(0),
      }),
    ),
    'task.health-changed': event(
      1,
      'its probes tell otherwise than before whether it is well',
      z.strictObject({
        status: z.enum(HEALTH_STATUSES),
        failures: z.int().nonnegative().describe('probes that have failed one after the other'),
        detail: z.string().optional().describe('what the last probe ended with, and what it has written'),
      }),
    ),
    'task.oom': event(
      2,
      'the kernel ended a process of its cgroup for want of memory',
      z.strictObject({ victim: oomVictim.optional() }),
      (data) => data, // Version 2 may know which process it was.
    ),
    'task.released': event(1, 'shim, mounts, cgroup and network of an ended task are gone', z.strictObject({})),
    'task.stopping': event(
      1,
      'a phase of its stop has begun; the next one follows unless it has ended by then',
      z.strictObject({ phase: z.enum(STOP_PHASES), signal: z.int().positive().optional(), until: instant }),
    ),
    'task.stuck': event(1, 'it did not end, or could not be removed; what holds it', evidence),
    'task.killing': event(1, 'a signal is about to be sent', sent),
    'task.killed': event(1, 'a signal was sent', sent),
    'task.exec-starting': event(
      2,
      'another process is about to be started in it',
      z.strictObject({ execId: z.string(), process: execProcess }),
      (data) => data, // Version 2 may have a deadline and a limit of output.
    ),
    'task.exec-started': event(1, 'that process runs', z.strictObject({ execId: z.string(), pid })),
    'task.exec-failed': event(
      1,
      'that process could not be started',
      z.strictObject({ execId: z.string(), error: z.string() }),
    ),
    'task.exec-exited': event(
      2,
      'that process has ended; its exit status',
      z.strictObject({
        execId: z.string(),
        exitCode,
        exitedAt: instant,
        reason: z.string().optional().describe('timeout: it had run for as long as it was to'),
        droppedBytes: z.int().nonnegative().optional().describe('of its output, beyond its limit'),
      }),
      (data) => data, // Version 2 may say why, and what was dropped.
    ),
    'task.output-dropped': event(
      1,
      'output of it was dropped: told once in a while, with what it comes to',
      z.strictObject({
        reason: z
          .enum(['rate', 'driver'])
          .describe('rate: it wrote more than it may; driver: it was rotated away before it could be sent'),
        bytes: z.int().nonnegative().optional().describe('where they were counted'),
        files: z.int().nonnegative().optional().describe('of its log'),
        sinceMs: z.int().nonnegative().describe('milliseconds that this is told of'),
      }),
    ),
    'task.paused': event(1, 'all of its processes are frozen', z.strictObject({})),
    'task.resumed': event(1, 'its processes go on', z.strictObject({})),
    // Since version 2 there are limits of swap, of CPUs by their numbers, and of disks.
    'task.updated': event(2, 'its limits were changed', z.strictObject({ resources }), (data) => data),
    'task.checkpointing': event(
      1,
      'the state of its processes is about to be written to disk',
      checkpointRequest.pick({ name: true, processes: true }),
    ),
    'task.checkpointed': event(
      1,
      'the state of its processes was written, whole',
      z.strictObject({ name: z.string() }),
    ),
    'task.checkpoint-failed': event(
      1,
      'it could not be written, and nothing of it is left',
      z.strictObject({ name: z.string(), error: z.string() }),
    ),
    'task.deleted': event(1, 'the task is gone; its container may have another', z.strictObject({})),
  },
  decide(state, { type, namespace, subject, payload }) {
    if (type === 'task.create') {
      if (state.status === 'absent') return [{ type: 'task.creating', data: { runtime: '' } }] // The handler knows the runtime.
      return refuse('already_exists', `container ${subject} has a task that is ${state.status}`, 'delete it first')
    }
    if (state.status === 'absent') {
      return refuse(
        'not_found',
        `container ${subject} has no task in namespace ${namespace}`,
        `purser start ${subject}`,
      )
    }
    const need = (...statuses: TaskState['status'][]) =>
      statuses.includes(state.status)
        ? undefined
        : refuse(
            'failed_precondition',
            `container ${subject} is ${state.status}, not ${statuses.join(' or ')}`,
            state.status === 'paused' ? `purser unpause ${subject} first` : 'purser ps -a shows its state',
          )
    switch (type) {
      case 'task.start':
        return need('created') ?? []
      case 'task.exec': {
        const refusal = need('running')
        if (refusal) return refusal
        const { execId, ...process } = payload
        if (execOf(state, execId)) {
          return refuse('already_exists', `exec ${execId} exists in container ${subject}`, 'choose another id')
        }
        return [{ type: 'task.exec-starting', data: { execId, process } }]
      }
      case 'task.kill': {
        const refusal = need('created', 'running', 'paused')
        if (refusal) return refusal
        const { execId, target } = payload
        const missing = execId === undefined ? undefined : notRunning(subject, execId, execOf(state, execId))
        if (missing) return missing
        return [
          {
            type: 'task.killing',
            data: { signal: parseSignal(payload.signal), target, ...(execId === undefined ? {} : { execId }) },
          },
        ]
      }
      case 'task.destroy':
        return need('created', 'running', 'paused') ?? []
      case 'task.pause':
        return need('running') ?? [{ type: 'task.paused', data: {} }]
      case 'task.resume':
        return need('paused') ?? [{ type: 'task.resumed', data: {} }]
      case 'task.update':
        return (
          need('created', 'running', 'paused') ??
          conflicting(payload.resources) ?? [{ type: 'task.updated', data: payload }]
        )
      case 'task.checkpoint': {
        const refusal = need('running')
        if (refusal) return refusal
        const running = runningExec(state)
        if (running !== undefined) {
          return refuse(
            'failed_precondition',
            `exec ${running} runs in container ${subject}, and would not be in the checkpoint`,
            'wait for it, or kill it',
          )
        }
        return [{ type: 'task.checkpointing', data: { name: payload.name, processes: payload.processes } }]
      }
      case 'task.delete':
        return need('stopped', 'created', 'creating') ?? []
    }
  },
  evolve(state, event): TaskState {
    switch (event.type) {
      case 'task.creating':
        return { status: 'creating', runtime: event.data.runtime, origin: event.correlationid, since: event.time }
      case 'task.deleted':
      case 'task.create-failed':
        return absent
      case 'task.stuck':
        return state.status === 'absent' ? state : { ...state, stuck: { ...event.data, since: event.time } }
      case 'task.network-degraded':
        if (!('pid' in state)) return state
        return { ...state, networkFault: { ...event.data, since: event.time } }
      case 'task.network-restored': {
        if (!('pid' in state)) return state
        const { networkFault: _, ...sound } = state
        return sound
      }
      case 'task.stopping': {
        if (state.status === 'absent' || state.status === 'stopped') return state
        const { phase, until } = event.data
        return { ...state, stop: { phase, until, by: event.commandid } }
      }
      case 'task.checkpointing':
        return state.status === 'absent' ? state : { ...state, checkpointing: { ...event.data, by: event.commandid } }
      case 'task.checkpointed':
      case 'task.checkpoint-failed': {
        if (state.status === 'absent') return state
        const { checkpointing: _, ...others } = state
        return others
      }
    }
    switch (state.status) {
      case 'creating':
        if (event.type === 'task.network-attached') return { ...state, ...event.data }
        if (event.type === 'task.ids-mapped') return { ...state, ids: event.data }
        if (event.type === 'task.created') {
          const { status: _, since: __, ...made } = state
          const { health: check, ...created } = event.data
          const health = check === undefined ? {} : { health: { check, status: 'starting' as const } }
          return { status: 'created', ...made, ...created, ...health, createdAt: event.time, execs: {} }
        }
        if (event.type === 'task.exited') return stopped(state, event.data)
        return state
      case 'created':
        if (event.type === 'task.network-attached') return { ...state, ...event.data }
        if (event.type === 'task.started') {
          return { ...state, status: 'running', pid: event.data.pid, startedAt: event.data.startedAt, oomKills: 0 }
        }
        if (event.type === 'task.killing') return { ...state, lastKill: event.commandid }
        if (event.type === 'task.exited') return stopped(state, event.data)
        return state
      case 'running':
      case 'paused':
        switch (event.type) {
          case 'task.exited':
            return stopped(state, event.data)
          case 'task.network-attached':
            return { ...state, ...event.data }
          case 'task.killing':
            return { ...state, lastKill: event.commandid }
          case 'task.paused':
            return { ...state, status: 'paused' }
          case 'task.resumed':
            return { ...state, status: 'running' }
          case 'task.health-changed': {
            if (state.health === undefined) return state
            const { status, detail } = event.data
            const said = detail === undefined ? {} : { detail }
            return { ...state, health: { check: state.health.check, status, since: event.time, ...said } }
          }
          case 'task.oom':
            return {
              ...state,
              oomKills: state.oomKills + 1,
              ...(event.data.victim === undefined ? {} : { oomVictim: event.data.victim }),
            }
          case 'task.exec-starting':
            return {
              ...state,
              execs: { ...state.execs, [event.data.execId]: { status: 'starting', process: event.data.process } },
            }
          case 'task.exec-started': {
            const { execId, pid } = event.data
            const exec = execOf(state, execId)
            if (exec?.status !== 'starting') return state
            const running: ExecState = { status: 'running', process: exec.process, pid, startedAt: event.time }
            return { ...state, execs: { ...state.execs, [execId]: running } }
          }
          case 'task.exec-failed': {
            const { [event.data.execId]: _, ...execs } = state.execs
            return { ...state, execs }
          }
          case 'task.exec-exited':
            return { ...state, execs: withExit(state.execs, event.data) }
        }
        return state
      case 'stopped':
        return event.type === 'task.released' ? released(state) : state
      case 'absent':
        return state
    }
  },
})

function conflicting(limits: z.output<typeof resources>): Refusal | undefined {
  const conflict = resourceConflict(limits)
  return conflict && refuse('invalid_argument', `${conflict.field}: ${conflict.message}`, 'leave one of them out')
}

function stopped(
  before: Made & { startedAt?: string; oomKills?: number },
  exit: { exitCode: number; exitedAt: string; reason?: string | undefined; oomKills: number },
): StoppedTask {
  return {
    status: 'stopped',
    runtime: before.runtime,
    origin: before.origin,
    exitCode: exit.exitCode,
    exitedAt: exit.exitedAt,
    ...(before.startedAt === undefined ? {} : { startedAt: before.startedAt }),
    ...(exit.reason === undefined ? {} : { reason: exit.reason }),
    ...(before.lastKill === undefined ? {} : { lastKill: before.lastKill }),
    oomKills: Math.max(before.oomKills ?? 0, exit.oomKills),
    ...(before.oomVictim === undefined ? {} : { oomVictim: before.oomVictim }),
    ...(before.checkpointing === undefined ? {} : { checkpointing: before.checkpointing }),
    host: 'held',
  }
}

function released({ stuck: _, ...state }: StoppedTask): StoppedTask {
  return { ...state, host: 'released' }
}

/** Whether something of it may be on the host. */
export const holdsHost = (state: TaskState): boolean =>
  state.status !== 'absent' && !(state.status === 'stopped' && state.host === 'released')

/** An exec by its id, which may be any word: also one that every object has a property of. */
export const execOf = (state: TaskState, execId: string): ExecState | undefined =>
  'execs' in state && Object.hasOwn(state.execs, execId) ? state.execs[execId] : undefined

const runningExec = (state: TaskState): string | undefined =>
  'execs' in state ? Object.entries(state.execs).find(([, { status }]) => status !== 'exited')?.[0] : undefined
