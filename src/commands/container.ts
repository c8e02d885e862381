import { z } from 'zod'
import { defineAggregate, type Kind, type Refusal, refuse, type View } from '../model/aggregate.ts'
import { digestSchema } from '../model/digest.ts'
import { event } from '../model/event-schema.ts'
import { identifier } from '../model/ids.ts'
import { type Labels, labels } from '../model/labels.ts'
import { type ContainerOptions, containerOptions } from '../oci/spec/container-options.ts'
import { networkName } from '../oci/spec/network-options.ts'
import { optionsConflict } from '../oci/spec/options-conflict.ts'
import { sandboxConflict } from '../oci/spec/sandbox-options.ts'
import { type Checkpoint, checkpointMode, checkpointOf, checkpointRecord } from './checkpoints.ts'
import { containerNames } from './container-name.ts'
import { notConnectable, notDisconnectable, withNetwork, withoutNetwork } from './container-networks.ts'
import { imageName } from './image-name.ts'
import { GRACE_MS_MAX, lifeConflict, lifeOptions } from './life.ts'
import { hasPolicy, isRestartDue, isStartedWithDaemon, nextRestart, type Restarts, restartPolicy } from './restart.ts'
import { sandboxes } from './sandbox-record.ts'
import { tasks } from './task.ts'

const resources = containerOptions.shape.resources.unwrap()

/** What a container is made of: the record that its tasks are started from. */
const record = z.strictObject({
  image: z.string().describe('canonical name of its image'),
  manifest: digestSchema.describe('what that name stood for'),
  config: digestSchema.describe("the image's config, which every task is made from"),
  snapshotter: z.string(),
  snapshotKey: z.string(),
  imageMounts: z
    .array(z.strictObject({ manifest: digestSchema, snapshotKey: z.string() }))
    .optional()
    .describe('what the images of its options stood for, in their order'),
  runtime: z.string(),
  sandbox: identifier.optional().describe('whose namespaces and shim it shares'),
  options: containerOptions,
  labels,
  /** What happens when its task exits. */
  onExit: z.enum(['keep', 'remove']),
  /** Milliseconds that a task may run before it is killed. */
  timeoutMs: z.int().positive().optional(),
  ...lifeOptions,
})

const volume = z.strictObject({
  target: z.string().describe('path in the container'),
  path: z.string().describe('directory of the host'),
})
type Volume = z.output<typeof volume>

export type ContainerRecord = z.output<typeof record>
export type ContainerState =
  | { status: 'absent' }
  | ({ status: 'present' | 'deleting'; createdAt: string; origin: string } & ContainerRecord & {
        options: ContainerOptions
        /** That it was given later; it answers to its id too. */
        name?: string
        labels: Labels
        /** That its image declares, once they were made. */
        volumes?: Volume[]
        /** Where it has, or had, a restart policy. */
        restarts?: Restarts
        /** By their names. */
        checkpoints?: Record<string, Checkpoint>
      })

export type PresentContainer = Exclude<ContainerState, { status: 'absent' }>

const absent = { status: 'absent' } as ContainerState
export const containers: Kind<ContainerState> = { name: 'container', initial: absent }

/** What a container is made from, before its image is there. */
export const provision = z.strictObject({
  image: imageName.describe('image reference, as docker understands it'),
  platform: z.string().optional(),
  snapshotter: z.string().default('overlayfs'),
  runtime: z.string().optional().describe("by default its sandbox's, or crun where it works, or else runc"),
  sandbox: identifier.optional().describe('whose namespaces and shim it shares'),
  options: containerOptions.prefault({}),
  labels: labels.default({}),
  onExit: z.enum(['keep', 'remove']).default('keep').describe('remove: what --rm asks for'),
  timeoutMs: z.int().positive().optional().describe('milliseconds that it may run before it is killed'),
  ...lifeOptions,
  pull: z.enum(['missing', 'always', 'never']).default('missing').describe('when the image is pulled'),
})

const ingest = z.string().describe('an archive that was sent: PUT /v1/ingests/{id}')

const stopRequest = z.strictObject({
  signal: z.string().optional().describe("the image's stop signal by default"),
  graceMs: z
    .int()
    .nonnegative()
    .max(GRACE_MS_MAX)
    .optional()
    .describe("until SIGKILL follows; the container's own stop timeout by default, or else 10000"),
})

export const container = defineAggregate({
  name: 'container',
  id: identifier,
  initial: absent,
  commands: {
    'container.create': record.describe('record a container, without an image being pulled or a task made'),
    'container.delete': z.strictObject({}).describe('remove the record of a container that has no task'),
    'container.copy': z
      .strictObject({
        ingest: z.string().describe('a tar that was sent: PUT /v1/ingests/{id}'),
        path: z.string().startsWith('/', 'a path in a container begins with /').max(4096).describe('a directory in it'),
        owner: z
          .enum(['root', 'archived'])
          .default('root')
          .describe('whose the files become; archived: as the tar has it'),
      })
      .describe('write the files of a tar into it, running or not'),
    'container.rename': z
      .strictObject({ name: identifier })
      .describe('give it another name, to which it answers besides its id; its own id takes the name back'),
    'container.connect': z
      .strictObject({
        network: networkName,
        aliases: z.array(identifier).max(64).default([]).describe('names that others in that network know it by'),
      })
      .describe('take it into one more network, at once where it runs'),
    'container.disconnect': z
      .strictObject({ network: networkName })
      .describe('take it out of one of its networks, at once where it runs'),
    'container.label': z.strictObject({ labels }).describe('set labels, over those that it has'),
    // Composite: sagas/ carries them out as steps of their own.
    'container.provision': provision.describe('make a container that can be started: image, snapshot, record'),
    'container.run': provision.describe('make a container and start it'),
    'container.start': z
      .strictObject({
        checkpoint: identifier.optional().describe('its processes go on from there, instead of being started anew'),
      })
      .describe('start a container anew; its ended task makes room'),
    'container.restore': provision
      .extend({ ingest, ...checkpointMode.shape })
      .describe(
        'make a container whose processes go on from the archive of a checkpoint; all else is as it is asked for here',
      ),
    'container.import-checkpoint': checkpointMode
      .extend({ ingest, name: identifier })
      .describe('take a checkpoint out of an archive, for a container that has not been started'),
    'container.remove-checkpoint': z.strictObject({ name: identifier }).describe('remove one of its checkpoints'),
    'container.stop': stopRequest.describe('ask its task to end, and kill it after a grace period'),
    'container.restart': stopRequest.describe('stop it where it runs, and start it anew'),
    'container.recover': z
      .strictObject({
        count: z.int().nonnegative().describe('the how-manyeth restart it is; 0 with the daemon'),
        delayMs: z.int().nonnegative().describe('milliseconds that were waited before it'),
      })
      .describe('start it again, as its restart policy says; nothing where that does not apply any more'),
    'container.update': z
      .strictObject({
        restart: restartPolicy.optional().describe('its restart policy from now on'),
        resources: resources
          .optional()
          .describe('limits, of what runs and of what is started later; those that are not named stay'),
      })
      .describe('change how it lives, and its limits'),
    'container.remove': z
      .strictObject({
        running: z.enum(['refuse', 'kill']).default('refuse').describe('what to do when its task runs'),
      })
      .describe('remove task, record and snapshot'),
  },
  leadsTo: {
    'container.create': ['container.created'],
    'container.delete': ['container.deleting', 'container.deleted'],
    'container.copy': ['container.copied'],
    'container.restore': [
      'image.pull',
      'image.verify',
      'snapshot.unpack',
      'snapshot.prepare',
      'snapshot.view',
      'container.create',
      'container.import-checkpoint',
      'task.create',
      'container.wanted',
      'task.delete',
      'snapshot.remove',
      'container.delete',
    ],
    'container.import-checkpoint': ['snapshot.applied', 'container.checkpoint-kept'],
    'container.remove-checkpoint': ['container.checkpoint-removed'],
    'container.rename': ['container-name.taken', 'container.renamed', 'container-name.released'],
    'container.connect': ['task.network-attaching', 'container.network-connected', 'task.network-attached'],
    'container.disconnect': ['task.network-detaching', 'task.network-attached', 'container.network-disconnected'],
    'container.label': ['container.labelled'],
    'container.provision': [
      'image.pull',
      'image.verify',
      'snapshot.unpack',
      'snapshot.prepare',
      'snapshot.view',
      'container.create',
      'snapshot.remove',
      'container.delete',
    ],
    'container.run': [
      'image.pull',
      'image.verify',
      'snapshot.unpack',
      'snapshot.prepare',
      'snapshot.view',
      'container.create',
      'task.create',
      'task.start',
      'container.wanted',
      'task.delete',
      'snapshot.remove',
      'container.delete',
    ],
    'container.start': ['task.delete', 'snapshot.unpack', 'task.create', 'task.start', 'container.wanted'],
    'container.restart': [
      'task.stopping',
      'task.kill',
      'task.destroy',
      'task.delete',
      'snapshot.unpack',
      'task.create',
      'task.start',
      'container.wanted',
    ],
    'container.recover': ['container.restarting', 'container.wanted', 'task.delete', 'task.create', 'task.start'],
    'container.update': ['task.update', 'container.updated', 'container.wanted'],
    'container.stop': ['container.wanted', 'task.stopping', 'task.kill', 'task.destroy'],
    'container.remove': [
      'task.stopping',
      'task.kill',
      'task.destroy',
      'task.delete',
      'snapshot.remove',
      'container.delete',
    ],
  },
  events: {
    'container.created': event(
      16,
      'the record of a container, which its tasks are made from',
      record,
      (data) => data, // Version 2 knows networks by name, and what goes with them.
      (data) => data, // Version 3 may say how it lives: an init, how long a stop waits.
      (data) => data, // Version 4 knows how far it is kept apart from the host.
      (data) => data, // Version 5 may have a restart policy.
      (data) => data, // Version 6 knows user namespaces.
      (data) => data, // Version 7 may say how its health is told.
      (data) => data, // Version 8 knows devices that vendors describe.
      (data) => data, // Version 9 may say which cgroup its own is in.
      (data) => data, // Version 10 may bound what is written beside the image.
      (data) => data, // Version 11 may mount files of other images.
      (data) => data, // Version 12 may say what becomes of its output.
      (data) => data, // Version 13 may have more names in its networks.
      (data) => data, // Version 14 may leave ports to be chosen, and have an IPv6 address.
      (data) => data, // Version 15 may say what is done about what is unhealthy.
      (data) => data, // Version 16 may be in a sandbox.
    ),
    'container.wanted': event(
      1,
      'it is to run from now on, or not to: what its restart policy goes by',
      z.strictObject({ running: z.boolean() }),
    ),
    'container.restarting': event(
      1,
      'its restart policy has it started again',
      z.strictObject({
        count: z.int().positive().describe('the how-manyeth restart since somebody started it'),
        delayMs: z.int().nonnegative(),
        exitCode: z.int().optional().describe('of the task that ended; absent where a start failed'),
      }),
    ),
    'container.updated': event(
      2,
      'how it lives was changed, or its limits were for good',
      z.strictObject({ restart: restartPolicy.optional(), resources: resources.optional() }),
      (data) => data, // Version 2 may have limits.
    ),
    'container.labelled': event(1, 'labels were set, over those that it had', z.strictObject({ labels })),
    'container.network-connected': event(
      1,
      'it is in one more network',
      z.strictObject({ network: networkName, aliases: z.array(identifier) }),
    ),
    'container.network-disconnected': event(
      1,
      'it is in one network less; the first of those that are left is its first',
      z.strictObject({ network: networkName }),
    ),
    'container.copied': event(
      1,
      'files were copied into it',
      z.strictObject({ path: z.string(), entries: z.int().nonnegative(), bytes: z.int().nonnegative() }),
    ),
    'container.checkpoint-kept': event(1, 'it has a checkpoint, which its task can be restored from', checkpointRecord),
    'container.checkpoint-removed': event(
      1,
      'that checkpoint and its files are gone',
      z.strictObject({ name: z.string() }),
    ),
    'container.volumes-made': event(
      1,
      'directories were made for the volumes that its image declares',
      z.strictObject({ volumes: z.array(volume) }),
    ),
    'container.renamed': event(
      1,
      'it was given another name',
      z.strictObject({ name: z.string().optional().describe('none: it is called by its id again') }),
    ),
    'container.deleting': event(1, 'the record is about to go, and its files with it', z.strictObject({})),
    'container.deleted': event(1, 'the record and its files are gone', z.strictObject({})),
  },
  decide(state, { type, namespace, subject, payload }, view) {
    switch (type) {
      case 'container.create':
        return (
          taken(state, namespace, subject, view) ??
          conflicting(payload) ?? [{ type: 'container.created', data: payload }]
        )
      case 'container.provision':
      case 'container.restore':
      case 'container.run':
        return taken(state, namespace, subject, view) ?? []
      case 'container.rename': {
        if (state.status === 'absent') return unknown(subject, namespace)
        const { name } = payload
        if (name === subject) return state.name === undefined ? [] : [{ type: 'container.renamed', data: {} }]
        if (name === state.name) return []
        return (
          taken(view.get(containers, namespace, name), namespace, name, view, subject) ?? [
            { type: 'container.renamed', data: { name } },
          ]
        )
      }
      case 'container.delete': {
        if (state.status === 'absent') return unknown(subject, namespace)
        const task = view.get(tasks, namespace, subject)
        if (task.status === 'absent') return [{ type: 'container.deleting', data: {} }]
        return refuse(
          'failed_precondition',
          `container ${subject} has a task that is ${task.status}`,
          `purser stop ${subject}, or rm -f`,
        )
      }
      case 'container.recover': {
        if (state.status === 'absent') return unknown(subject, namespace)
        const task = view.get(tasks, namespace, subject)
        if (payload.count === 0) {
          return isStartedWithDaemon(state, task) ? [{ type: 'container.wanted', data: { running: true } }] : []
        }
        if (!isRestartDue(state, task) || payload.count !== nextRestart(state)) return []
        const ended = task.status === 'stopped' ? { exitCode: task.exitCode } : {}
        return [{ type: 'container.restarting', data: { ...payload, ...ended } }]
      }
      case 'container.update': {
        if (state.status === 'absent') return unknown(subject, namespace)
        const { restart = state.restart, ...rest } = payload
        const conflict = conflicting({ ...state, restart })
        if (conflict) return conflict
        // A policy that comes later counts for what runs now.
        const { status } = view.get(tasks, namespace, subject)
        const runs = status === 'running' || status === 'paused'
        const isNew = restart !== undefined && hasPolicy({ restart }) && state.restarts === undefined && runs
        return [
          { type: 'container.updated', data: { ...rest, ...(restart === undefined ? {} : { restart }) } },
          ...(isNew ? [{ type: 'container.wanted' as const, data: { running: true } }] : []),
        ]
      }
      case 'container.connect':
        if (state.status === 'absent') return unknown(subject, namespace)
        return (
          notConnectable(state.options, subject, payload.network) ?? [
            { type: 'container.network-connected', data: payload },
          ]
        )
      case 'container.disconnect':
        if (state.status === 'absent') return unknown(subject, namespace)
        return (
          notDisconnectable(state.options, subject, payload.network) ?? [
            { type: 'container.network-disconnected', data: payload },
          ]
        )
      case 'container.label':
        if (state.status === 'absent') return unknown(subject, namespace)
        return [{ type: 'container.labelled', data: payload }]
      case 'container.start': {
        if (state.status === 'absent') return unknown(subject, namespace)
        const { checkpoint } = payload
        return (checkpoint === undefined ? undefined : withoutCheckpoint(state, subject, checkpoint)) ?? []
      }
      case 'container.import-checkpoint': {
        if (state.status === 'absent') return unknown(subject, namespace)
        if (checkpointOf(state, payload.name) !== undefined) {
          return refuse(
            'already_exists',
            `container ${subject} has a checkpoint ${payload.name}`,
            'choose another name',
          )
        }
        if (view.get(tasks, namespace, subject).status === 'absent') return []
        return refuse(
          'failed_precondition',
          `container ${subject} has been started: its files are not those of the archive`,
          'make another one: purser restore',
        )
      }
      case 'container.remove-checkpoint': {
        if (state.status === 'absent') return unknown(subject, namespace)
        const { name } = payload
        return withoutCheckpoint(state, subject, name) ?? [{ type: 'container.checkpoint-removed', data: { name } }]
      }
      case 'container.copy':
      case 'container.stop':
      case 'container.restart':
      case 'container.remove':
        return state.status === 'absent' ? unknown(subject, namespace) : []
    }
  },
  evolve(state, event): ContainerState {
    switch (event.type) {
      case 'container.created':
        return { status: 'present', ...event.data, createdAt: event.time, origin: event.correlationid }
      case 'container.labelled':
        if (state.status === 'absent') return state
        return { ...state, labels: { ...state.labels, ...event.data.labels } }
      case 'container.network-connected':
      case 'container.network-disconnected': {
        if (state.status === 'absent') return state
        const { options } = state
        const { network } = event.data
        const changed =
          event.type === 'container.network-connected'
            ? withNetwork(options, network, event.data.aliases)
            : withoutNetwork(options, network)
        return { ...state, options: changed }
      }
      case 'container.copied':
        return state
      case 'container.checkpoint-kept': {
        if (state.status === 'absent') return state
        const { name, ...kept } = event.data
        return { ...state, checkpoints: { ...state.checkpoints, [name]: { ...kept, createdAt: event.time } } }
      }
      case 'container.checkpoint-removed': {
        if (state.status === 'absent') return state
        const { [event.data.name]: _, ...checkpoints } = state.checkpoints ?? {}
        return { ...state, checkpoints }
      }
      case 'container.volumes-made':
        if (state.status === 'absent') return state
        return { ...state, volumes: [...(state.volumes ?? []), ...event.data.volumes] }
      case 'container.wanted': {
        if (state.status === 'absent') return state
        const { count, delayMs } = state.restarts ?? { count: 0, delayMs: 0 }
        const { running } = event.data
        return {
          ...state,
          restarts: running ? { wanted: true, count: 0, delayMs: 0 } : { wanted: false, count, delayMs },
        }
      }
      case 'container.restarting': {
        if (state.status === 'absent') return state
        const { count, delayMs } = event.data
        return { ...state, restarts: { wanted: true, count, delayMs } }
      }
      case 'container.renamed': {
        if (state.status === 'absent') return state
        const { name: _, ...others } = state
        return { ...others, ...event.data }
      }
      case 'container.updated': {
        if (state.status === 'absent') return state
        const { resources, ...life } = event.data
        const limits = { ...state.options.resources, ...resources }
        return { ...state, ...life, options: { ...state.options, resources: limits } }
      }
      case 'container.deleting':
        return state.status === 'absent' ? state : { ...state, status: 'deleting' }
      case 'container.deleted':
        return absent
    }
  },
})

function conflicting(record: Pick<ContainerRecord, 'options' | 'restart' | 'onExit' | 'sandbox'>): Refusal | undefined {
  const life = lifeConflict(record)
  if (life) return refuse('invalid_argument', `${life.field}: ${life.message}`, 'leave one of the two out')
  const conflict = optionsConflict(record.options) ?? sandboxConflict(record.options, record.sandbox)
  return (
    conflict && refuse('invalid_argument', `options.${conflict.field}: ${conflict.message}`, 'see purser run --help')
  )
}

/** Whether an id or a name is in use, unless it is by the one that asks. */
function taken(state: ContainerState, namespace: string, name: string, view: View, by?: string): Refusal | undefined {
  if (state.status !== 'absent') {
    return refuse(
      'already_exists',
      `container ${name} exists in namespace ${namespace}`,
      `choose another name, or purser rm ${name}`,
    )
  }
  if (view.get(sandboxes, namespace, name).status !== 'absent') {
    return refuse('already_exists', `sandbox ${name} exists in namespace ${namespace}`, 'choose another name')
  }
  const holder = view.get(containerNames, namespace, name)
  if (holder.status === 'absent' || holder.container === by) return undefined
  return refuse(
    'already_exists',
    `container ${holder.container} is called ${name} in namespace ${namespace}`,
    `choose another name, or purser rename ${holder.container} NAME`,
  )
}

/** Refuses where a container has no checkpoint of this name. */
function withoutCheckpoint(state: PresentContainer, subject: string, name: string): Refusal | undefined {
  if (checkpointOf(state, name) !== undefined) return undefined
  return refuse(
    'not_found',
    `container ${subject} has no checkpoint ${name}`,
    `purser checkpoint ls ${subject} lists what there is`,
  )
}

const unknown = (id: string, namespace: string) =>
  refuse('not_found', `container ${id} is not in namespace ${namespace}`, 'purser ps -a lists what there is')
