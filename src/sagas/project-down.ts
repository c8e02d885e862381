import { project } from '../commands/project.ts'
import { defineSaga } from './define.ts'
import { removeNetwork } from './project-network.ts'
import { removeParts } from './project-parts.ts'

/** Those that depend on others first; begun anew after a restart, it goes on with what is left. */
export const projectDown = defineSaga(project, 'project.down', async (saga) => {
  const { id, payload, state } = saga
  if (state.status !== 'stopping') await saga.append(...saga.decide())
  const { state: stopping } = saga
  if (stopping.status === 'absent') return { facts: [] }
  await removeParts(saga, id, stopping.containers, payload.graceMs, saga.signal)
  await removeNetwork(saga, id, saga.signal)
  return { facts: [project.fact(id, 'project.removed', {})], result: { id } }
})
