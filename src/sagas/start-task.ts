import { container } from '../commands/container.ts'
import { snapshot, snapshotId } from '../commands/snapshot.ts'
import { task } from '../commands/task.ts'
import { PurserError } from '../model/errors.ts'
import { type Saga, undoStep } from './define.ts'

/**
 * A new task of a container, created and started; an ended one makes room for it.
 *
 * @param checkpoint that its processes go on from, instead
 * @returns false where one runs already
 */
export async function startTask(
  saga: Saga<unknown, unknown>,
  undo: AsyncDisposableStack,
  checkpoint?: string,
): Promise<boolean> {
  const { id, namespace } = saga
  const current = () => saga.view.get(task, namespace, id)
  const before = current()
  const isOurs = before.status !== 'absent' && before.origin === saga.command.correlationId
  if (!isOurs) {
    switch (before.status) {
      case 'running':
        if (checkpoint === undefined) return false
        throw new PurserError('failed_precondition', `container ${id} is running`, {
          remedy: `purser stop ${id} first`,
        })
      case 'stopped':
        await saga.step('delete-ended', { type: 'task.delete', subject: id })
        break
      case 'paused':
        throw new PurserError('failed_precondition', `container ${id} is paused`, { remedy: 'resume it' })
    }
  }
  undoStep(saga, undo, 'undo-task', { type: 'task.delete', subject: id })
  await unpackAgain(saga)
  const payload = checkpoint === undefined ? {} : { checkpoint }
  await saga.step('create-task', { type: 'task.create', subject: id, payload })
  if (checkpoint === undefined) await saga.step('start-task', { type: 'task.start', subject: id })
  return true
}

/** After a reboot the layers of an image may have to be unpacked again: who needs them before that is done, waits for it. */
async function unpackAgain(saga: Saga<unknown, unknown>): Promise<void> {
  const { id, namespace, view } = saga
  const made = view.get(container, namespace, id)
  if (made.status === 'absent') return
  const own = view.get(snapshot, namespace, snapshotId(made.snapshotter, made.snapshotKey))
  if (own.status === 'absent' || own.parent === undefined) return
  const parent = snapshotId(made.snapshotter, own.parent)
  if (view.get(snapshot, namespace, parent).status === 'committed') return
  await saga.step('unpack-again', { type: 'snapshot.unpack', subject: parent, payload: { image: made.image } })
}
