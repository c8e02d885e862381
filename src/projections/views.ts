import type { CommandState } from '../commands/command.ts'
import type { ContainerState } from '../commands/container.ts'
import type { ContentState } from '../commands/content.ts'
import type { ImageState } from '../commands/image.ts'
import type { JobAttempt, PresentJob } from '../commands/job.ts'
import type { NamespaceState } from '../commands/namespace.ts'
import type { NetworkState } from '../commands/network.ts'
import type { PoolState } from '../commands/pool.ts'
import type { PoolMemberState } from '../commands/pool-member.ts'
import type { ProjectState } from '../commands/project.ts'
import { isRestartDue } from '../commands/restart.ts'
import type { PresentSandbox } from '../commands/sandbox-record.ts'
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

export function sandboxView({ namespace, id, version, state }: Entry<PresentSandbox>) {
  const { made, ...rest } = state
  return { id, namespace, version, ...made, ...rest }
}
export type SandboxView = ReturnType<typeof sandboxView>

export const projectView = ({ namespace, id, version, state }: Entry<Present<ProjectState>>) => ({
  name: id,
  namespace,
  version,
  ...state,
})
export type ProjectView = ReturnType<typeof projectView>

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

/** A job as it is told: what it is made of, and how each attempt went. */
export function jobView({ namespace, id, version, state }: Entry<PresentJob>) {
  const { attempts, spec, status, submittedAt, submittedBy, submission } = state
  const first = attempts[0]
  const last = attempts.at(-1)
  const endedAt = 'endedAt' in state ? state.endedAt : undefined
  return {
    id,
    namespace,
    version,
    status,
    ...(spec.name === undefined ? {} : { name: spec.name }),
    submittedAt,
    submittedBy,
    /** The command that submitted it, and that all it leads to is correlated with. */
    command: submission,
    ...(first === undefined ? {} : { startedAt: first.startedAt }),
    ...(endedAt === undefined ? {} : { endedAt }),
    ...('cancel' in state && state.cancel !== undefined ? { cancelling: state.cancel } : {}),
    ...('reason' in state ? { reason: state.reason } : {}),
    ...('failure' in state ? { failure: state.failure } : {}),
    ...exitCodeOf(state),
    timings: {
      ...(first === undefined ? {} : { queuedMs: between(submittedAt, first.startedAt) }),
      ...(last?.endedAt === undefined ? {} : { ranMs: between(last.startedAt, last.endedAt) }),
      ...(endedAt === undefined ? {} : { totalMs: between(submittedAt, endedAt) }),
    },
    attempts: attempts.map((attempt) => attemptView(attempt, spec.steps)),
    artifacts: last?.collected?.artifacts ?? [],
    spec,
  }
}
export type JobView = ReturnType<typeof jobView>

function attemptView({ steps, collected, ...attempt }: JobAttempt, specs: PresentJob['spec']['steps']) {
  return {
    ...attempt,
    steps: steps.map((step, index) => ({ name: specs[index]?.name ?? '', ...step })),
    ...(collected === undefined ? {} : { skipped: collected.skipped, missing: collected.missing }),
  }
}

/** 0 of a job that has succeeded; of one that has failed that of the step it failed with, where a process ended so. */
function exitCodeOf(state: PresentJob): { exitCode?: number } {
  if (state.status === 'succeeded') return { exitCode: 0 }
  if (state.status !== 'failed' || state.failure.exitCode === undefined) return {}
  return { exitCode: state.failure.exitCode }
}

const between = (from: string, to: string): number => Math.max(0, Date.parse(to) - Date.parse(from))
