import { rm } from 'node:fs/promises'
import { container } from '../../commands/container.ts'
import { defineTaskHandler } from './effects.ts'

/** The record goes, and with it what was kept for it: the log. */
export const deleteContainer = defineTaskHandler(container, 'container.delete', async (job) => {
  const { id, namespace, effects } = job
  if (job.state.status !== 'deleting') await job.append(...job.decide())
  await rm(effects.paths.container(namespace, id), { recursive: true, force: true })
  return { facts: [container.fact(id, 'container.deleted', {})], result: { id } }
})
