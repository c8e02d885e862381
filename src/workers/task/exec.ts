import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { containers } from '../../commands/container.ts'
import { execOf, type TaskState, task } from '../../commands/task.ts'
import { expectMigration } from '../../host/cgroup-migration.ts'
import type { Fact } from '../../model/aggregate.ts'
import { errorCodeOf, PurserError, toPurserError } from '../../model/errors.ts'
import { buildExecProcess } from '../../oci/spec/exec-process.ts'
import type { Spec } from '../../oci/spec/schema.ts'
import { ProcessStdio } from '../../shim/stdio.ts'
import { begunExec, killStrays, markStarting, mayHaveBegun } from './begun.ts'
import { defineTaskHandler } from './effects.ts'
import { type LiveTask, liveExec, shapeOfExec } from './live-task.ts'
import { usersIn } from './rootfs.ts'

const START_MS = 60_000
const KILLED = 137
const LOST = 'lost: the daemon went down while it was starting; what was left of it was killed'

export const execInTask = defineTaskHandler(task, 'task.exec', async (job) => {
  const { id, namespace, signal, effects } = job
  const { tasks, paths } = effects
  const { execId, ...process } = job.payload
  const known = execOf(job.state, execId)
  // Redelivered after its intent was written, it goes on; in a task that has ended meanwhile it is refused.
  const goesOn = job.attempt > 1 && known?.status === 'starting' && job.state.status === 'running'
  expectMigration()
  if (!goesOn) await job.append(...job.decide())

  const live = tasks.require(namespace, id)
  const dir = paths.stdio(namespace, id, execId)
  await using undo = job.undoStack()
  undo.defer(() => job.append(task.fact(id, 'task.exec-failed', { execId, error: 'it could not be started' })))
  tasks.starts.begin(namespace, id, execId, job.command.id)
  const before = goesOn ? await stateOf(live, execId, signal) : undefined
  if (before && before.status !== 'created') {
    // Begun before the daemon went down: it is not begun again.
    undo.move()
    if (!live.execs.has(execId))
      tasks.adoptExec(live, execId, liveExec(ProcessStdio.attach(dir, shapeOfExec(process)), process))
    return { facts: [task.fact(id, 'task.exec-started', { execId, pid: Math.max(1, before.pid) })], result: { execId } }
  }
  if (goesOn && mayHaveBegun(dir)) {
    const noted = begunExec(live.bundle, execId)
    undo.defer(() => rm(dir, { recursive: true, force: true }))
    if (before) await live.shim.delete({ execId }, signal)
    const [stray] = await killStrays(live.shim, pidsOf(job.state), signal)
    const pid = noted ?? stray
    if (pid !== undefined) return { facts: lost(id, execId, pid), result: { execId, pid } }
    throw new PurserError(
      'aborted',
      `the daemon went down while exec ${execId} was starting: whether it ran is not known`,
      {
        remedy: 'it does not run now: start another one, if twice does no harm',
      },
    )
  }
  if (before) await live.shim.delete({ execId }, signal)
  const stdio = await ProcessStdio.create(dir, shapeOfExec(process))
  undo.defer(() => stdio.remove())
  try {
    const spec: Spec = JSON.parse(await readFile(join(live.bundle, 'config.json'), 'utf8'))
    const users = await usersIn(live, signal)
    const env = effects.sealing.openVariables(job.payload.env, namespace)
    const made = job.view.get(containers, namespace, id)
    const groupAdd = made.status === 'absent' ? undefined : made.options.groupAdd
    const built = buildExecProcess(spec, { ...process, env, groupAdd }, users)
    await live.shim.exec({ execId, process: built, io: stdio.io }, signal)
    undo.defer(async () => {
      await live.shim.delete({ execId }, AbortSignal.timeout(10_000))
    })
    signal.throwIfAborted()
    markStarting(dir)
    const { pid } = await live.shim.start({ execId }, AbortSignal.timeout(START_MS)) // Whole, or its outcome is not known.
    undo.move()
    tasks.adoptExec(live, execId, liveExec(stdio, process))
    return { facts: [task.fact(id, 'task.exec-started', { execId, pid })], result: { execId, pid } }
  } catch (thrown) {
    throw toPurserError(thrown)
  }
})

/** It began, and its shim, which takes it for not begun, cannot tell how it ended. */
function lost(id: string, execId: string, pid: number): Fact[] {
  const exit = { exitCode: KILLED, exitedAt: new Date().toISOString(), reason: LOST }
  return [task.fact(id, 'task.exec-started', { execId, pid }), task.fact(id, 'task.exec-exited', { execId, ...exit })]
}

async function stateOf(live: LiveTask, execId: string, signal: AbortSignal) {
  try {
    return await live.shim.state({ execId }, signal)
  } catch (error) {
    if (errorCodeOf(error) === 'not_found') return undefined
    throw error
  }
}

/** Of the processes of a running task that the log knows. */
function pidsOf(state: TaskState): Set<number> {
  if (!('execs' in state)) return new Set()
  const execs = Object.values(state.execs).flatMap((exec) => (exec.status === 'running' ? [exec.pid] : []))
  return new Set([state.pid, ...execs])
}
