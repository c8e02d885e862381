import { mkdir, open, rename } from 'node:fs/promises'
import { job, stepContainer } from '../../../commands/job.ts'
import { defineTaskHandler } from '../effects.ts'
import { attemptFiles } from './files.ts'

/** A copy, for the container's own log goes with it. */
export const keepJobLog = defineTaskHandler(job, 'job.keep-log', async (saga) => {
  const { id, namespace, payload, effects, signal } = saga
  saga.decide()
  const { attempt, step } = payload
  const files = attemptFiles(effects.paths, namespace, id, attempt)
  await mkdir(files.dir, { recursive: true })
  const path = files.log(step)
  let sizeBytes = 0
  {
    await using file = await open(`${path}.part`, 'w', 0o640)
    const container = stepContainer(id, attempt, step)
    for await (const chunk of effects.streams.logs(namespace, container, { follow: false }, signal)) {
      await file.writeFile(chunk)
      sizeBytes += chunk.length
    }
  }
  await rename(`${path}.part`, path)
  return { facts: [job.fact(id, 'job.log-kept', { ...payload, sizeBytes })] }
})
