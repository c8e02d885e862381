import { container } from '../commands/container.ts'
import {
  containerOfPart,
  optionsOfPart,
  PROJECT_LABEL,
  type ProjectPart,
  type ProjectSpec,
  project,
} from '../commands/project.ts'
import { task } from '../commands/task.ts'
import { toPurserError } from '../model/errors.ts'
import { defineSaga, type Saga, UNDO_MS } from './define.ts'
import { makeNetwork, removeNetwork } from './project-network.ts'
import { inOrder, isOfProject, removeParts, untilHolds } from './project-parts.ts'

/**
 * Each container when those that it depends on are as it needs them; begun anew after a restart of the daemon, it waits for the
 * same starts.
 */
export const projectUp = defineSaga(project, 'project.up', async (saga) => {
  const { id, payload } = saga
  const { containers: parts } = payload
  if (saga.attempt === 1 || saga.state.status === 'absent') await saga.append(...saga.decide())
  let why = 'it was interrupted'
  await using undo = saga.undoStack()
  undo.defer(async () => {
    await saga.append(project.fact(id, 'project.start-failed', { error: why }))
    if (payload.onFailure === 'keep') return
    const within = AbortSignal.timeout(UNDO_MS)
    await removeParts(saga, id, parts, undefined, within)
    await removeNetwork(saga, id, within)
    await saga.append(project.fact(id, 'project.removed', {}))
  })
  try {
    await makeNetwork(saga, id, parts)
    const before = (name: string) => Object.keys(parts[name]?.dependsOn ?? {})
    await inOrder(parts, before, saga.signal, async (name, within) => {
      const part = parts[name]
      if (part) await start(saga, name, part, within)
    })
  } catch (error) {
    why = toPurserError(error).message
    throw error
  }
  undo.move()
  const containers = Object.keys(parts).map((name) => containerOfPart(id, name))
  return { facts: [project.fact(id, 'project.started', {})], result: { id, containers } }
})

async function start(
  saga: Saga<unknown, Pick<ProjectSpec, 'containers'>>,
  name: string,
  { run, dependsOn }: ProjectPart,
  within: AbortSignal,
): Promise<void> {
  const { id: projectId, namespace, view } = saga
  for (const [other, condition] of Object.entries(dependsOn))
    await untilHolds(saga, containerOfPart(projectId, other), condition, within)
  const subject = containerOfPart(projectId, name)
  const made = view.get(container, namespace, subject)
  const isOurs = made.status !== 'absent' && made.origin === saga.command.correlationId
  if (made.status === 'absent' || isOurs || !isOfProject(made, projectId)) {
    // Where another container has the name, this is refused.
    const options = optionsOfPart(projectId, name, run.options)
    const payload = { ...run, options, labels: { ...run.labels, [PROJECT_LABEL]: projectId } }
    await saga.step(`run-${name}`, { type: 'container.run', subject, payload }, within)
    return
  }
  // What others wait for to be completed, and is, need not be done again.
  const state = view.get(task, namespace, subject)
  const isDone = state.status === 'stopped' && state.exitCode === 0 && isToComplete(saga.payload.containers, name)
  if (!isDone) await saga.step(`start-${name}`, { type: 'container.start', subject }, within)
}

const isToComplete = (parts: ProjectSpec['containers'], name: string): boolean =>
  Object.values(parts).some(({ dependsOn }) => Object.hasOwn(dependsOn, name) && dependsOn[name] === 'completed')
