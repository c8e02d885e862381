import { container } from '../../commands/container.ts'
import { task } from '../../commands/task.ts'
import type { View } from '../../model/aggregate.ts'
import { PurserError } from '../../model/errors.ts'

/**
 * The pid of another container's process, one of whose namespaces is asked for.
 *
 * @param kind what is shared, as the option is called: `network`
 * @throws PurserError not_found, or failed_precondition when it does not run
 */
export function pidOfOther(view: View, namespace: string, other: string, kind: 'network' | 'pid' | 'ipc'): number {
  const state = view.get(task, namespace, other)
  if ('pid' in state) return state.pid
  const field = `options.${kind}`
  if (view.get(container, namespace, other).status === 'absent') {
    const message = `container ${other}, whose ${kind} namespace is asked for, is not in namespace ${namespace}`
    throw new PurserError('not_found', message, { field, remedy: 'purser ps -a lists those that are' })
  }
  throw new PurserError(
    'failed_precondition',
    `container ${other}, whose ${kind} namespace is asked for, does not run`,
    {
      field,
      remedy: `purser start ${other}`,
    },
  )
}
