import { chmod, mkdir } from 'node:fs/promises'
import { job } from '../../../commands/job.ts'
import { defineTaskHandler } from '../effects.ts'
import { attemptFiles } from './files.ts'

/** As /tmp: steps may run as different users, and nobody else gets here. */
const MODE = 0o1777

/** The directory that the steps of an attempt share. */
export const prepareJob = defineTaskHandler(job, 'job.prepare', async ({ id, namespace, payload, effects, decide }) => {
  decide()
  const { workspace } = attemptFiles(effects.paths, namespace, id, payload.attempt)
  await mkdir(workspace, { recursive: true })
  await chmod(workspace, MODE) // Whatever the umask is.
  return { facts: [job.fact(id, 'job.prepared', payload)], result: { workspace } }
})
