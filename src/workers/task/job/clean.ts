import { job } from '../../../commands/job.ts'
import { defineTaskHandler } from '../effects.ts'

export const cleanJob = defineTaskHandler(job, 'job.clean', async ({ id, namespace, payload, effects, decide }) => {
  decide()
  await effects.jobs.workspaces.remove({ namespace, id, ...payload })
  return { facts: [job.fact(id, 'job.cleaned', payload)] }
})
