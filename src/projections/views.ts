import type { CommandState } from '../commands/command.ts'
import type { ContainerState } from '../commands/container.ts'
import type { ContentState } from '../commands/content.ts'
import type { ImageState } from '../commands/image.ts'
import type { NamespaceState } from '../commands/namespace.ts'
import type { NetworkState } from '../commands/network.ts'
import type { PoolState } from '../commands/pool.ts'
import type { PoolMemberState } from '../commands/pool-member.ts'
import { isRestartDue } from '../commands/restart.ts'
import { type SnapshotState, splitSnapshotId } from '../commands/snapshot.ts'
import type { TaskState } from '../commands/task.ts'
import type { Entry } from '../model/aggregate.ts'

/** What clients see of each aggregate: flat JSON with `namespace`, its id under the field's own name, and `version`. */

type Present<S extends { status: string }> = Exclude<S, { status: 'absent' }>

export function commandView({ namespace, version, state }: Entry<Present<CommandState>>) {
  const { command, ...rest } = state
  return { ...command, ...rest, namespace, version }
}
export type CommandView = ReturnType<typeof commandView>

export function containerView(entry: Entry<Present<ContainerState>>, task: TaskState) {
  const { namespace, id, version, state } = entry
  const { status: _, ...record } = state
  return {
    id,
    namespace,
    version,
    ...record,
    status: isRestartDue(state, task) ? ('restarting' as const) : containerStatus(task),
    ...(task.status === 'absent' ? {} : { task: taskFields(task) }),
  }
}
export type ContainerView = ReturnType<typeof containerView>

/** docker's words, as `ps` shows them. */
function containerStatus(task: TaskState): 'created' | 'running' | 'paused' | 'exited' {
  switch (task.status) {
    case 'absent':
    case 'creating':
    case 'created':
      return 'created'
    case 'stopped':
      return 'exited'
    default:
      return task.status
  }
}

function taskFields(task: Present<TaskState>) {
  if (!('execs' in task)) return task
  const { execs, ...fields } = task
  return { ...fields, execs: Object.entries(execs).map(([id, exec]) => ({ id, ...exec })) }
}

export const taskView = ({ namespace, id, version, state }: Entry<Present<TaskState>>) => ({
  id,
  namespace,
  version,
  ...taskFields(state),
})

export function imageView({ namespace, id, version, state }: Entry<Present<ImageState>>) {
  const { status: _, ...image } = state
  const layersBytes = image.layers.reduce((sum, layer) => sum + layer.sizeBytes, 0)
  return {
    name: id,
    namespace,
    version,
    ...image,
    sizeBytes: layersBytes + image.config.sizeBytes + image.manifest.sizeBytes,
  }
}
export type ImageView = ReturnType<typeof imageView>

export const snapshotView = ({ namespace, id, version, state }: Entry<Present<SnapshotState>>) => ({
  ...splitSnapshotId(id),
  namespace,
  version,
  ...state,
})

export function contentView({ namespace, id, version, state }: Entry<Present<ContentState>>) {
  const { status: _, ...content } = state
  return { digest: id, namespace, version, ...content }
}

export function namespaceView({ id, version, state }: Entry<Present<NamespaceState>>) {
  const { status: _, ...namespace } = state
  return { name: id, version, ...namespace }
}

export const networkView = ({ namespace, id, version, state }: Entry<Present<NetworkState>>) => ({
  name: id,
  namespace,
  version,
  ...state,
})
export type NetworkView = ReturnType<typeof networkView>

/** @param members of this pool */
export function poolView(
  { namespace, id, version, state }: Entry<Present<PoolState>>,
  members: readonly Entry<Present<PoolMemberState>>[],
) {
  const count = (...statuses: PoolMemberState['status'][]) =>
    members.filter(({ state: { status } }) => statuses.includes(status)).length
  return {
    name: id,
    namespace,
    version,
    ...state,
    ready: count('ready'),
    warming: count('warming', 'returned'),
    claimed: count('claiming', 'claimed'),
    members: members.map(({ id: container, state: { pool: _, ...member } }) => ({ container, ...member })),
  }
}
export type PoolView = ReturnType<typeof poolView>
