import { network } from '../commands/network.ts'
import { hasOwnNetwork, networkOfProject, PROJECT_LABEL, type ProjectSpec } from '../commands/project.ts'
import { PurserError } from '../model/errors.ts'
import type { Saga } from './define.ts'

/** Makes a project's own network, where it is in one and has not made it before. */
export async function makeNetwork(
  saga: Saga<unknown, unknown>,
  project: string,
  parts: ProjectSpec['containers'],
): Promise<void> {
  if (!hasOwnNetwork(project, parts)) return
  const subject = networkOfProject(project)
  const state = saga.view.get(network, saga.namespace, subject)
  if (state.status === 'absent') {
    const payload = { labels: { [PROJECT_LABEL]: project } }
    await saga.step('make-network', { type: 'network.create', subject, payload })
  } else if (state.labels[PROJECT_LABEL] !== project) {
    throw new PurserError(
      'already_exists',
      `network ${subject} is not of project ${project}, and has the name of its own`,
      {
        remedy: `purser network rm ${subject}, or give the project another name`,
      },
    )
  }
}

/** Removes it when its containers are gone. */
export async function removeNetwork(saga: Saga<unknown, unknown>, project: string, signal: AbortSignal): Promise<void> {
  const subject = networkOfProject(project)
  const state = saga.view.get(network, saga.namespace, subject)
  if (state.status === 'absent' || state.labels[PROJECT_LABEL] !== project) return
  await saga.step('remove-network', { type: 'network.remove', subject }, signal)
}
