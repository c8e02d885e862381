import { rm } from 'node:fs/promises'
import { container } from '../../commands/container.ts'
import { containerName } from '../../commands/container-name.ts'
import { defineTaskHandler } from './effects.ts'

/** The record goes, and with it what was kept for it: the log. */
export const deleteContainer = defineTaskHandler(container, 'container.delete', async (job) => {
  const { id, namespace, effects } = job
  if (job.state.status !== 'deleting') await job.append(...job.decide())
  const { state } = job
  const name = state.status === 'absent' ? undefined : state.name
  await rm(effects.paths.container(namespace, id), { recursive: true, force: true })
  const released = name === undefined ? [] : [containerName.fact(name, 'container-name.released', {})]
  return { facts: [container.fact(id, 'container.deleted', {}), ...released], result: { id } }
})
