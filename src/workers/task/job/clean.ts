import { rm } from 'node:fs/promises'
import { job } from '../../../commands/job.ts'
import { defineTaskHandler } from '../effects.ts'
import { attemptFiles } from './files.ts'

export const cleanJob = defineTaskHandler(job, 'job.clean', async ({ id, namespace, payload, effects, decide }) => {
  decide()
  const { workspace } = attemptFiles(effects.paths, namespace, id, payload.attempt)
  await rm(workspace, { recursive: true, force: true })
  return { facts: [job.fact(id, 'job.cleaned', payload)] }
})
