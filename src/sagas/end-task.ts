import type { ContainerState } from '../commands/container.ts'
import { STOP_PHASES, type Stop, type StopPhase, type StuckEvidence, task } from '../commands/task.ts'
import { errorCodeOf, PurserError } from '../model/errors.ts'
import { parseSignal } from '../oci/signals.ts'
import type { Saga } from './define.ts'

/** However short a phase, so long may what it does take. */
const ACT_MS_MIN = 1000

const hasEnded = (saga: Saga<unknown, unknown>): boolean => {
  const { status } = saga.view.get(task, saga.namespace, saga.id)
  return status === 'stopped' || status === 'absent'
}

/**
 * Asks the task to end, and makes it: by SIGKILL, by its cgroup, by the end of its shim, by the removal of all that there is
 * of it. Each phase is an event, with the time at which the next one follows; begun anew after a restart, it goes on with the
 * phase that it was in, and with what is left of its time.
 *
 * @param ask the signal, and how long it is given; none to kill at once
 * @throws PurserError deadline_exceeded when the task survives all of it
 */
export async function endTask(saga: Saga<unknown, unknown>, ask?: { signal: string; graceMs: number }): Promise<void> {
  if (hasEnded(saga)) return
  const { stop } = aliveIn(saga)
  const resumed = stop?.by === saga.command.id ? stop : undefined
  const first = resumed?.phase ?? (ask ? 'ask' : 'kill')
  for (const phase of STOP_PHASES.slice(STOP_PHASES.indexOf(first))) {
    const until = phase === resumed?.phase ? Date.parse(resumed.until) : await begin(saga, phase, ask)
    const within = AbortSignal.timeout(Math.max(until - Date.now(), ACT_MS_MIN))
    await act(saga, phase, ask?.signal, within)
    // Nothing follows the last one: what is stuck after it stays so.
    const isOver = phase === 'clean-up' && aliveIn(saga).stuck !== undefined
    if (await endsBy(saga, isOver ? 0 : until)) return
  }
  throw stuckError(saga.id, aliveIn(saga).stuck)
}

const GRACE_MS = 10_000

/** Ends the task of a container where it has one that has not ended, as the request says or else its record. */
export async function stopTask(
  saga: Saga<ContainerState, unknown>,
  { signal, graceMs }: { signal?: string | undefined; graceMs?: number | undefined },
): Promise<void> {
  const state = saga.view.get(task, saga.namespace, saga.id)
  if (state.status !== 'created' && state.status !== 'running' && state.status !== 'paused') return
  const own = saga.state.status === 'absent' ? undefined : saga.state.stopTimeoutMs
  await endTask(saga, { signal: signal ?? String(state.stopSignal), graceMs: graceMs ?? own ?? GRACE_MS })
}

function aliveIn({ view, namespace, id }: Saga<unknown, unknown>): { stop?: Stop; stuck?: StuckEvidence } {
  const state = view.get(task, namespace, id)
  return state.status === 'absent' ? {} : state
}

/** @returns when the next phase follows, Unix time in milliseconds */
async function begin(
  saga: Saga<unknown, unknown>,
  phase: StopPhase,
  ask: { signal: string; graceMs: number } | undefined,
): Promise<number> {
  const ms = phase === 'ask' ? (ask?.graceMs ?? 0) : saga.effects.stopDeadlines[phase]
  const until = Date.now() + ms
  const signal = phase === 'ask' && ask ? { signal: parseSignal(ask.signal) } : {}
  const data = { phase, ...signal, until: new Date(until).toISOString() }
  await saga.append(task.fact(saga.id, 'task.stopping', data))
  return until
}

/** What a phase does. One that is not done in its time is given up: the next one does not need it. */
async function act(
  saga: Saga<unknown, unknown>,
  phase: StopPhase,
  askSignal: string | undefined,
  within: AbortSignal,
): Promise<void> {
  try {
    if (phase === 'ask') return await signal(saga, phase, askSignal ?? 'SIGTERM', within)
    if (phase === 'kill') return await signal(saga, phase, 'SIGKILL', within)
    const withinMs = saga.effects.stopDeadlines[phase]
    const payload = { phase, withinMs: Math.max(withinMs, ACT_MS_MIN) }
    await saga.step(phase, { type: 'task.destroy', subject: saga.id, payload }, AbortSignal.any([saga.signal, within]))
  } catch (err) {
    if (saga.signal.aborted) throw err
    saga.logger.warn({ err, phase }, 'a phase of a stop did not come to its end')
  }
}

/** How often the stop signal is sent again whose arrival is not known, because the daemon went down as it was sent. */
const SENDS_MAX = 5

async function signal(
  saga: Saga<unknown, unknown>,
  name: string,
  signalName: string,
  within: AbortSignal,
): Promise<void> {
  const payload = { signal: signalName }
  const limit = AbortSignal.any([saga.signal, within])
  for (let send = 1; ; send++) {
    try {
      await saga.step(send === 1 ? name : `${name}-${send}`, { type: 'task.kill', subject: saga.id, payload }, limit)
      return
    } catch (error) {
      const code = errorCodeOf(error)
      if (code === 'aborted' && send < SENDS_MAX) continue
      // It ended by itself meanwhile, or with its shim, which is being recorded.
      if (code !== 'failed_precondition' && code !== 'not_found' && code !== 'unavailable') throw error
      return
    }
  }
}

async function endsBy(saga: Saga<unknown, unknown>, until: number): Promise<boolean> {
  if (hasEnded(saga)) return true
  const patience = AbortSignal.timeout(Math.max(0, until - Date.now()))
  try {
    await saga.until(() => hasEnded(saga), AbortSignal.any([saga.signal, patience]))
    return true
  } catch (error) {
    if (saga.signal.aborted) throw error
    return false
  }
}

function stuckError(id: string, stuck: StuckEvidence | undefined): PurserError {
  const [first] = stuck?.processes ?? []
  const what =
    first === undefined
      ? 'nothing is known of what holds it'
      : `process ${first.pid} (${first.command}) is in state ${first.state}${first.waitsIn === undefined ? '' : `, in ${first.waitsIn}`}`
  return new PurserError('deadline_exceeded', `container ${id} did not end by any phase of its stop: ${what}`, {
    remedy: `purser inspect ${id} shows what holds it; a process in state D ends with the device or file system that it waits for`,
  })
}
