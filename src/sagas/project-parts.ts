import { type ContainerState, container } from '../commands/container.ts'
import { type Condition, containerOfPart, PROJECT_LABEL, type ProjectSpec } from '../commands/project.ts'
import { hasPolicy, isRestartDue } from '../commands/restart.ts'
import { type TaskState, task } from '../commands/task.ts'
import { PurserError } from '../model/errors.ts'
import type { Saga } from './define.ts'

type Parts = ProjectSpec['containers']

/**
 * Does something with each part of a project, each as soon as it is done with those before it. The first failure ends what is
 * under way, and is thrown when nothing is any more.
 *
 * @param before names of the parts that come before one
 */
export async function inOrder(
  parts: Parts,
  before: (name: string) => readonly string[],
  signal: AbortSignal,
  act: (name: string, within: AbortSignal) => Promise<void>,
): Promise<void> {
  const failed = new AbortController()
  const within = AbortSignal.any([signal, failed.signal])
  const under = new Map<string, Promise<void>>()
  const once = (name: string): Promise<void> => {
    const known = under.get(name)
    if (known) return known
    const doing = (async () => {
      // What they end with is told by their own.
      const earlier = await Promise.allSettled(before(name).map(once))
      if (earlier.some(({ status }) => status === 'rejected')) return
      within.throwIfAborted()
      await act(name, within)
    })()
    under.set(name, doing)
    return doing
  }
  const names = Object.keys(parts)
  const all = names.map((name) =>
    once(name).catch((error: unknown) => {
      failed.abort(error)
      throw error
    }),
  )
  await Promise.allSettled(all)
  signal.throwIfAborted()
  if (failed.signal.aborted) throw failed.signal.reason
}

/** Stops and removes the containers of a project, each when those that depend on it are gone. */
export async function removeParts(
  saga: Saga<unknown, unknown>,
  project: string,
  parts: Parts,
  graceMs: number | undefined,
  signal: AbortSignal,
): Promise<void> {
  const { view, namespace } = saga
  const dependents = (name: string) => dependentsOf(parts, name)
  await inOrder(parts, dependents, signal, async (name, within) => {
    const subject = containerOfPart(project, name)
    if (!isOfProject(view.get(container, namespace, subject), project)) return
    const payload = graceMs === undefined ? {} : { graceMs }
    await saga.step(`stop-${name}`, { type: 'container.stop', subject, payload }, within)
    await saga.step(`remove-${name}`, { type: 'container.remove', subject }, within)
  })
}

/** The parts that depend on one. */
const dependentsOf = (parts: Parts, name: string): string[] =>
  Object.entries(parts).flatMap(([other, { dependsOn }]) => (Object.hasOwn(dependsOn, name) ? [other] : []))

/** Whether a container is of this project, so that it may be started and removed with it. */
export const isOfProject = (state: ContainerState, project: string): boolean =>
  state.status !== 'absent' && state.labels[PROJECT_LABEL] === project

/** Waits until a condition holds of a container. @throws PurserError failed_precondition when it will not */
export async function untilHolds(
  saga: Saga<unknown, unknown>,
  id: string,
  condition: Condition,
  within: AbortSignal,
): Promise<void> {
  const { view, namespace } = saga
  const verdict = () => verdictOn(view.get(container, namespace, id), view.get(task, namespace, id), condition)
  await saga.until(() => verdict() !== 'waits', within)
  const said = verdict()
  if (said === 'holds' || said === 'waits') return
  throw new PurserError('failed_precondition', `container ${id} ${said.fails}`, {
    remedy: `purser logs ${id} and purser history ${id} tell more`,
  })
}

type Verdict = 'holds' | 'waits' | { fails: string }

function verdictOn(made: ContainerState, task: TaskState, condition: Condition): Verdict {
  if (condition === 'started') return 'holds' // Its start has been waited for.
  const mayComeBack = made.status !== 'absent' && hasPolicy(made) && made.restarts?.wanted !== false
  if (task.status === 'absent') return mayComeBack ? 'waits' : { fails: 'has gone' }
  if (task.status === 'stopped') {
    if (condition === 'completed' && task.exitCode === 0) return 'holds'
    if (isRestartDue(made, task)) return 'waits'
    const before = condition === 'completed' ? '' : ' before it was healthy'
    return { fails: `ended with exit code ${task.exitCode}${before}` }
  }
  if (condition === 'completed' || task.status === 'creating' || task.status === 'created') return 'waits'
  if (task.health === undefined) return { fails: 'has no health check: it cannot become healthy' }
  if (task.health.status === 'unhealthy') return { fails: `is unhealthy: ${task.health.detail ?? 'its probes failed'}` }
  return task.health.status === 'healthy' ? 'holds' : 'waits'
}
