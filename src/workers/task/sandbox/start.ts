import { sandbox } from '../../../commands/sandbox.ts'
import type { PresentSandbox } from '../../../commands/sandbox-record.ts'
import { errorCodeOf, PurserError, toPurserError } from '../../../model/errors.ts'
import type { Job } from '../../../queue/handler.ts'
import { defineTaskHandler, type TaskEffects } from '../effects.ts'
import type { LiveSandbox } from './live-sandboxes.ts'
import { identityOf, makeSandbox, removeSandbox } from './make.ts'
import { untilReleased } from './members.ts'
import { connectionOf } from './shared.ts'

/** @see cri-api, PodSandboxState */
const READY = 'SANDBOX_READY'

/** Has it run; one that has ended is made anew before. */
export const startSandbox = defineTaskHandler(sandbox, 'sandbox.start', async (job) => {
  const { id, namespace, effects, signal } = job
  if (job.state.status !== 'starting') await job.append(...job.decide())
  const { state } = job
  if (state.status !== 'starting') throw new PurserError('aborted', `sandbox ${id} is ${state.status} meanwhile`)
  try {
    const held = effects.sandboxes.get(namespace, id)
    const live = held && !held.isOver && !held.shim.isClosed ? held : await makeAgain(job, state)
    const pid = live.sandboxer === 'shim' ? await startInShim(live, job.attempt, signal) : 0
    effects.sandboxes.watchExit(live)
    const startedAt = new Date().toISOString()
    const started = { startedAt, ...(pid === 0 ? {} : { pid }), ...connectionOf(job) }
    return { facts: [sandbox.fact(id, 'sandbox.started', started)], result: { id, ...(pid === 0 ? {} : { pid }) } }
  } catch (thrown) {
    const error = toPurserError(thrown)
    if (errorCodeOf(thrown) === undefined && signal.aborted) throw error
    await removeSandbox(effects, identityOf(job, state.made.runtime))
    const exitedAt = new Date().toISOString()
    const reason = `it did not start: ${error.message}`
    await job.append(sandbox.fact(id, 'sandbox.exited', { exitedAt, reason }), sandbox.fact(id, 'sandbox.released', {}))
    throw error
  }
})

/** What was in it before is gone by then. */
async function makeAgain(
  job: Job<unknown, unknown, TaskEffects>,
  state: Pick<PresentSandbox, 'made'>,
): Promise<LiveSandbox> {
  await untilReleased(job)
  return await makeSandbox(job, state)
}

/** Redelivered, it may run already: it is not started twice. */
async function startInShim({ shim }: LiveSandbox, attempt: number, signal: AbortSignal): Promise<number> {
  const found = attempt > 1 ? await shim.sandbox.status(signal) : undefined
  if (found && (found.state === READY || found.pid !== 0)) return found.pid
  const { pid } = await shim.sandbox.start(signal)
  return pid
}
