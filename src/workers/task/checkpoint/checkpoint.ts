import { join } from 'node:path'
import type { z } from 'zod'
import { container, type PresentContainer } from '../../../commands/container.ts'
import { hasPolicy } from '../../../commands/restart.ts'
import { type TaskState, task } from '../../../commands/task.ts'
import { thaw } from '../../../host/freezer.ts'
import type { Fact } from '../../../model/aggregate.ts'
import { errorCodeOf, PurserError, toPurserError } from '../../../model/errors.ts'
import type { Job } from '../../../queue/handler.ts'
import { defineTaskHandler, type TaskEffects } from '../effects.ts'
import { CheckpointFiles } from './checkpoint-files.ts'
import { requireCheckpointable } from './checkpointable.ts'
import { criuFailure } from './criu-failure.ts'
import { keepLayer } from './layer.ts'

const UNDO_MS = 60_000
/** How long the end of what was dumped is waited for. */
const END_MS = 15_000

type Request = z.output<(typeof task.commands)['task.checkpoint']>
type CheckpointJob = Job<TaskState, Request, TaskEffects>

/**
 * Has the processes of a task written to disk. Redelivered, what CRIU has written to its end is kept, for the processes may
 * have ended with it; what it has not is removed, and written anew where they still run.
 */
export const checkpointTask = defineTaskHandler(task, 'task.checkpoint', async (job) => {
  const { id, namespace, effects, payload } = job
  const made = job.view.get(container, namespace, id)
  if (made.status === 'absent') {
    throw new PurserError('not_found', `container ${id} is not in namespace ${namespace}`, { remedy: 'purser ps -a' })
  }
  const files = new CheckpointFiles(effects.paths.checkpoints(namespace, id), payload.name)
  const { version: criu } = await effects.shims.reports.requireCheckpoints(made.runtime)
  if (!isBegun(job)) {
    const intent = job.decide()
    requireCheckpointable(id, made, payload)
    await job.append(...intent, ...wanted(id, made, payload, false))
    await dump(job, made, files)
  } else {
    await files.settled(job.signal)
    if (!files.isDumped()) await dump(job, made, files)
  }
  // From here on there may be no other state of the processes than this one: it is recorded, whatever comes.
  if (payload.processes === 'end')
    await job.until(() => job.state.status === 'stopped', AbortSignal.timeout(END_MS)).catch(() => {})
  const failure =
    payload.files === 'leave' ? undefined : await keepLayer(job, made, files).then(() => undefined, toPurserError)
  const { name, tcp, unixSockets, fileLocks } = payload
  const record = {
    name,
    mode: { tcp, unixSockets, fileLocks },
    runtime: made.runtime,
    criu,
    architecture: effects.architecture,
    sizeBytes: await files.complete(),
    files: failure === undefined ? payload.files : ('leave' as const),
  }
  const facts = [task.fact(id, 'task.checkpointed', { name }), container.fact(id, 'container.checkpoint-kept', record)]
  if (failure === undefined) return { facts, result: { name, sizeBytes: record.sizeBytes } }
  await job.append(...facts)
  throw new PurserError(failure.code, `checkpoint ${name} of container ${id} has no files: ${failure.message}`, {
    cause: failure,
    remedy: `purser start --checkpoint ${name} ${id} goes on from it; it cannot be exported`,
  })
})

const isBegun = ({ state, command }: CheckpointJob): boolean =>
  state.status !== 'absent' && state.checkpointing?.by === command.id

/** The effect; where it fails, nothing of it is left, and the processes go on. */
async function dump(job: CheckpointJob, made: PresentContainer, files: CheckpointFiles): Promise<void> {
  const { id, namespace, effects, payload, signal } = job
  const { name, processes } = payload
  await using undo = job.undoStack()
  try {
    if (job.state.status !== 'running') {
      throw new PurserError('aborted', `container ${id} has ended before its checkpoint ${name} was whole`, {
        remedy: `purser start ${id} starts it anew`,
      })
    }
    const { shim } = effects.tasks.require(namespace, id)
    undo.defer(async () => {
      await files.settled(AbortSignal.timeout(UNDO_MS))
      await files.remove()
      thaw(effects.paths.cgroup(namespace, id))
    })
    await files.begin()
    const options = {
      exit: processes === 'end',
      openTcp: payload.tcp === 'keep',
      externalUnixSockets: payload.unixSockets === 'keep',
      fileLocks: payload.fileLocks === 'keep',
      workPath: files.work,
    }
    await shim.checkpoint({ path: files.newImages, options }, signal).catch(async (thrown: unknown) => {
      signal.throwIfAborted()
      throw await criuFailure(
        `checkpoint ${name} of container ${id} cannot be made`,
        thrown,
        join(files.work, 'dump.log'),
      )
    })
    undo.move()
  } catch (thrown) {
    await undo.disposeAsync()
    if (errorCodeOf(thrown) !== undefined || !signal.aborted) {
      const error = toPurserError(thrown).message
      await job.append(task.fact(id, 'task.checkpoint-failed', { name, error }), ...wanted(id, made, payload, true))
    }
    throw thrown
  }
}

/** What a stop means to the restart policy, where there is one: that the end is wanted, and that it is not any more. */
function wanted(id: string, made: PresentContainer, { processes }: Request, running: boolean): Fact[] {
  if (processes === 'go-on' || !hasPolicy(made) || made.restarts?.wanted !== true) return []
  return [container.fact(id, 'container.wanted', { running })]
}
