import type { View } from '../../model/aggregate.ts'
import { TaskProcesses } from './processes.ts'
import type { TaskStatistics } from './statistics.ts'
import type { Tasks } from './tasks.ts'

/** What containers do and use, for the surfaces. */
export function taskActivity(view: View, tasks: Tasks, statistics: TaskStatistics) {
  const processes = new TaskProcesses(view, tasks)
  return {
    processes: (namespace: string, id: string, signal: AbortSignal) => processes.list(namespace, id, signal),
    usage: (namespace: string, id: string, signal: AbortSignal) => statistics.read(namespace, id, signal),
    usageOfAll: (namespace: string, signal: AbortSignal) => statistics.readAll(namespace, signal),
    recentUsage: (namespace: string, id: string, sinceMs: number) => statistics.recent(namespace, id, sinceMs),
  }
}
