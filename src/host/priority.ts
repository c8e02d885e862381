import { getPriority, setPriority } from 'node:os'
import { errnoOf, resetPriorityOnFork } from './syscalls.ts'

const NICE = -10

/**
 * Has this thread run before those that compute, and whatever it starts not: a thread that answers others waits for most of its
 * time, and should not wait for a core too. Left alone where a priority was given, or none may be.
 *
 * @returns whether it has
 */
export function preferThisThread(): boolean {
  if (getPriority() !== 0) return false
  try {
    resetPriorityOnFork()
    setPriority(NICE)
    return true
  } catch (error) {
    const code = errnoOf(error) ?? Reflect.get(Object(error), 'info')?.code
    if (code === 'EPERM' || code === 'EACCES') return false
    throw error
  }
}
