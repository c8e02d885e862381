import { job } from '../../../commands/job.ts'
import { defineTaskHandler } from '../effects.ts'

/** The directory that the steps of an attempt share. */
export const prepareJob = defineTaskHandler(job, 'job.prepare', async (saga) => {
  const { id, namespace, payload, state, effects, signal } = saga
  saga.decide()
  const sizeBytes = state.status === 'running' ? state.spec.workspaceBytes : undefined
  const workspace = await effects.jobs.workspaces.make({ namespace, id, ...payload }, sizeBytes, signal)
  return { facts: [job.fact(id, 'job.prepared', payload)], result: { workspace } }
})
