import { sandbox } from '../../../commands/sandbox.ts'
import type { PresentSandbox } from '../../../commands/sandbox-record.ts'
import type { Fact } from '../../../model/aggregate.ts'
import { whileWanted } from '../../../model/concurrency.ts'
import { errorCodeOf } from '../../../model/errors.ts'
import type { Job } from '../../../queue/handler.ts'
import { defineTaskHandler, type TaskEffects } from '../effects.ts'
import { identityOf, removeSandbox } from './make.ts'
import { untilReleased } from './members.ts'

/** How long its shim has beyond the time that the sandbox is given. */
const STOP_MS = 10_000
/** Ends what the containers of a sandbox have shared, and gives it back. That it has ended is recorded here. */
export const haltSandbox = defineTaskHandler(sandbox, 'sandbox.halt', async (job) => {
  const { id, payload, effects } = job
  if (job.state.status !== 'stopping') await job.append(...job.decide())
  const { state } = job
  if (state.status === 'absent' || state.status === 'deleting') return { facts: [], result: { id } }
  if (state.status === 'stopped' && state.host === 'released') return { facts: [], result: { id } }
  await untilReleased(job)
  const end = state.status === 'stopped' ? [] : [await endOf(job, state, payload.graceMs)]
  await removeSandbox(effects, identityOf(job, state.made.runtime))
  return { facts: [...end, sandbox.fact(id, 'sandbox.released', {})], result: { id } }
})

type HaltJob = Job<unknown, unknown, TaskEffects>

/** What its shim tells of the end that we ask for; one that dies of it, or hangs, tells nothing. */
async function endOf(
  { effects, namespace, id, signal, logger }: HaltJob,
  state: PresentSandbox,
  graceMs: number,
): Promise<Fact> {
  const exitedAt = new Date().toISOString()
  const live = effects.sandboxes.get(namespace, id)
  const hasStarted = state.status === 'stopping' && state.startedAt !== undefined
  if (live?.sandboxer !== 'shim' || !hasStarted) return sandbox.fact(id, 'sandbox.exited', { exitedAt })
  try {
    const within = AbortSignal.any([signal, AbortSignal.timeout(graceMs + STOP_MS)])
    await live.shim.sandbox.stop(graceMs, within)
    const end = await whileWanted(live.ended.promise, within)
    if (end.exitCode !== undefined) return sandbox.fact(id, 'sandbox.exited', end)
  } catch (err) {
    if (signal.aborted) throw err
    if (errorCodeOf(err) !== 'unavailable') logger.warn({ err, sandbox: id }, 'a shim does not end its sandbox')
  }
  return sandbox.fact(id, 'sandbox.exited', { exitedAt: new Date().toISOString() })
}
