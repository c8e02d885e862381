import type { View } from '../model/aggregate.ts'
import { isHeld, sandboxes } from './sandbox-record.ts'
import { holdsHost, tasks } from './task.ts'

/** Who may have something of networks on the host. */
export const networkHolders = (view: View) => ({
  container: (namespace: string, id: string): boolean => holdsHost(view.get(tasks, namespace, id)),
  sandbox: (namespace: string, id: string): boolean => isHeld(view.get(sandboxes, namespace, id)),
})
