import { sandbox } from '../../../commands/sandbox.ts'
import { defineTaskHandler } from '../effects.ts'
import { identityOf, removeSandbox } from './make.ts'

/** What is left of one that has ended goes, then the record. */
export const discardSandbox = defineTaskHandler(sandbox, 'sandbox.discard', async (job) => {
  const { id, effects } = job
  if (job.state.status !== 'deleting') await job.append(...job.decide())
  const { state } = job
  if (state.status !== 'absent') await removeSandbox(effects, identityOf(job, state.made.runtime))
  return { facts: [sandbox.fact(id, 'sandbox.deleted', {})], result: { id } }
})
