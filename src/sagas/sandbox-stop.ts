import { container } from '../commands/container.ts'
import { liveIn, membersOf, sandbox } from '../commands/sandbox.ts'
import type { View } from '../model/aggregate.ts'
import { mapLimited } from '../model/concurrency.ts'
import { defineSaga } from './define.ts'

const AT_ONCE = 8

/** Its containers, all at once, and then what they have shared. */
export const stopSandbox = defineSaga(sandbox, 'sandbox.stop', async (saga) => {
  const { id, namespace, payload, view } = saga
  if (saga.attempt === 1) saga.decide()
  const members = new Set([...liveIn(view, namespace, id), ...awaitedIn(view, namespace, id)])
  await mapLimited([...members], AT_ONCE, saga.signal, (member, signal) =>
    saga.step(`stop-${member}`, { type: 'container.stop', subject: member, payload }, signal),
  )
  await saga.step('halt', { type: 'sandbox.halt', subject: id, payload })
  return { facts: [], result: { id } }
})

/** Those that a restart policy would start again. */
const awaitedIn = (view: View, namespace: string, id: string): string[] =>
  membersOf(view, namespace, id).filter((member) => {
    const made = view.get(container, namespace, member)
    return made.status === 'present' && made.restarts?.wanted === true
  })
