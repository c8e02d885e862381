import { container } from '../../commands/container.ts'
import { hasPolicy } from '../../commands/restart.ts'
import { execOf, type TaskState, task } from '../../commands/task.ts'
import { pidsOf } from '../../host/kill-cgroup.ts'
import { signalTree } from '../../host/process-tree.ts'
import type { Fact } from '../../model/aggregate.ts'
import { errorCodeOf, PurserError } from '../../model/errors.ts'
import { parseSignal } from '../../oci/signals.ts'
import type { Job } from '../../queue/handler.ts'
import { defineTaskHandler, type TaskEffects } from './effects.ts'
import { letGoOn } from './pause.ts'
import { mayBeSentAgain, noteSending } from './sent-signal.ts'

const SIGKILL = 9

type KillJob = Job<TaskState, { execId?: string | undefined; target: string }, TaskEffects>

/** Who kills a container, or sends it its stop signal, does not want it started again; what the node does itself is no wish. */
function endIsWanted({ id, namespace, state, payload, command, view }: KillJob, signal: number): Fact[] {
  const isEnd = 'stopSignal' in state && (signal === SIGKILL || signal === state.stopSignal)
  if (!isEnd || payload.execId !== undefined || command.actor.startsWith('purser:')) return []
  const made = view.get(container, namespace, id)
  if (made.status === 'absent' || !hasPolicy(made) || made.restarts?.wanted !== true) return []
  // A step belongs to a command that has said what it wants.
  return command.parentId === undefined ? [container.fact(id, 'container.wanted', { running: false })] : []
}

/** Whom a signal is for, where they are processes of this kernel. */
function targetsOf({ effects, namespace, id, state, payload }: KillJob): number[] | 'unknown' {
  const { shims, paths } = effects
  if (!('pid' in state) || !shims.runsOnTheHost(state.runtime)) return 'unknown'
  if (payload.target === 'all') return pidsOf(paths.cgroup(namespace, id))
  if (payload.execId === undefined) return [state.pid]
  const exec = execOf(state, payload.execId)
  return exec?.status === 'running' ? [exec.pid] : 'unknown'
}

/**
 * Sends a signal, once. Whether one arrived cannot be seen from outside: when the daemon went down in the moment between
 * the intent and the fact, it is sent again where twice does no more than once; else the caller is told that it is not known.
 */
export const killTask = defineTaskHandler(task, 'task.kill', async (job) => {
  const { id, namespace, signal: within, payload, state } = job
  const signal = parseSignal(payload.signal)
  const { execId, target } = payload
  const sending = {
    bundle: job.effects.paths.bundle(namespace, id),
    commandId: job.command.id,
    signal,
    pids: targetsOf(job),
  }
  const mayBeSent = state.status !== 'absent' && state.status !== 'creating' && state.lastKill === job.command.id
  if (!mayBeSent) await job.append(...job.decide(), ...endIsWanted(job, signal))
  else if (state.status === 'stopped')
    return { facts: [] } // It has ended: nothing is left to be done.
  else if (!mayBeSentAgain(sending)) {
    throw new PurserError(
      'aborted',
      `the daemon went down while it sent signal ${signal} to container ${id}: whether it arrived is not known`,
      { remedy: 'send it again, if twice does no harm' },
    )
  }
  const { shim } = job.effects.tasks.require(namespace, id)
  noteSending(sending)
  const toExec = execId === undefined ? {} : { execId }
  const exec = execId === undefined ? undefined : execOf(state, execId)
  try {
    if (exec?.status === 'running' && target === 'all') {
      const list = async () => (await shim.pids(within)).map(({ pid }) => pid)
      await signalTree(exec.pid, list, signal)
    } else await shim.kill({ signal, ...toExec, ...(target === 'all' && !exec ? { all: true } : {}) }, within)
    // A frozen process dies when it is thawed.
    if (signal === SIGKILL && state.status === 'paused') await letGoOn(job, within)
  } catch (error) {
    const isGone = errorCodeOf(error) === 'not_found' || errorCodeOf(error) === 'failed_precondition'
    if (!mayBeSent || !isGone) throw error
  }
  return { facts: [task.fact(id, 'task.killed', { signal, target, ...toExec })] }
})
