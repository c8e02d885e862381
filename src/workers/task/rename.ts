import { container } from '../../commands/container.ts'
import { containerName } from '../../commands/container-name.ts'
import { defineTaskHandler } from './effects.ts'

/** The new name is taken first, by whoever comes first; then the old one is given up. */
export const renameContainer = defineTaskHandler(container, 'container.rename', async (job) => {
  const { id, namespace, view, payload } = job
  const takes = payload.name === id ? undefined : payload.name
  for (;;) {
    const facts = job.decide()
    const { state } = job
    if (facts.length === 0 || state.status === 'absent') return { facts, result: { id } }
    const version = takes === undefined ? 0 : view.version(containerName, namespace, takes)
    const isTaken = takes !== undefined && view.get(containerName, namespace, takes).status === 'taken' // By it: decided above.
    const released = state.name === undefined ? [] : [containerName.fact(state.name, 'container-name.released', {})]
    if (takes === undefined || isTaken) return { facts: [...facts, ...released], result: { id } }
    const taking = containerName.fact(takes, 'container-name.taken', { container: id })
    if (await job.appendIf(version, taking)) return { facts: [...facts, ...released], result: { id } }
  }
})
