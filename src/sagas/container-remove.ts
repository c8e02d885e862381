import { container } from '../commands/container.ts'
import { snapshot, snapshotId } from '../commands/snapshot.ts'
import { task } from '../commands/task.ts'
import { PurserError } from '../model/errors.ts'
import { bothSteps, defineSaga } from './define.ts'
import { endTask } from './end-task.ts'
import { removeViews } from './image-mounts.ts'
import { rest } from './wanted.ts'

/** Task, record and snapshot, in this order; begun anew after a restart, it goes on with what is left. */
export const removeContainer = defineSaga(container, 'container.remove', async (saga) => {
  const { id, namespace } = saga
  if (saga.attempt === 1) saga.decide()
  const state = saga.view.get(task, namespace, id)
  if ((state.status === 'running' || state.status === 'paused') && saga.payload.running === 'refuse') {
    throw new PurserError('failed_precondition', `container ${id} is ${state.status}`, {
      remedy: `purser stop ${id} first, or rm -f`,
    })
  }
  await rest(saga)
  if (state.status === 'running' || state.status === 'paused') await endTask(saga)
  const ended = saga.view.get(task, namespace, id)
  const deleteTask = async () => {
    if (ended.status !== 'absent') await saga.step('delete-task', { type: 'task.delete', subject: id })
  }
  const record = saga.state
  const removeSnapshot = async () => {
    if (record.status === 'absent') return
    const subject = snapshotId(record.snapshotter, record.snapshotKey)
    if (saga.view.get(snapshot, namespace, subject).status === 'absent') return
    await saga.step('remove-snapshot', { type: 'snapshot.remove', subject })
  }
  const isReleased = ended.status === 'stopped' && ended.host === 'released'
  if (isReleased) await bothSteps(deleteTask(), removeSnapshot())
  else {
    await deleteTask() // Which gives back what it holds, and with it the mount of the snapshot.
    await removeSnapshot()
  }
  await removeViews(saga)
  if (record.status === 'absent') return { facts: [], result: { id } }
  // At last, for the record says which snapshot it is.
  await saga.step('delete', { type: 'container.delete', subject: id })
  return { facts: [], result: { id } }
})
