import { collection } from '../../commands/collection.ts'
import { defineGcHandler } from './effects.ts'
import { findGarbage } from './mark.ts'
import { sweep } from './sweep.ts'

export const collectGarbage = defineGcHandler(collection, 'gc.collect', async (job) => {
  const begunAt = performance.now()
  if (job.payload.mode === 'dry-run') {
    const garbage = findGarbage(job.view).map(({ kind, namespace, id }) => ({ kind, namespace, id }))
    return { facts: [], result: { garbage } }
  }
  await job.append(...job.decide())
  const swept = await sweep(job)
  const durationMs = Math.round(performance.now() - begunAt)
  return { facts: [collection.fact('node', 'gc.collected', { ...swept, durationMs })], result: { ...swept } }
})
