import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { unmount } from '../host/mounts.ts'
import { workingIn } from '../host/working-in.ts'

const GONE_POLL_MS = 5

/** Where CRIU works while it restores a task of the runc shim, and logs to. */
export const criuWorkOf = (bundle: string): string => join(bundle, 'work')

/**
 * Ends what a restore that was cut off leaves: CRIU, which goes on without the runtime that has called it, and a mount of the
 * task's root file system where the runtime keeps its state. A runtime that removes this state would remove the files of the
 * container with it.
 *
 * @param state directory where the runtime keeps this container
 */
export async function removeRestoreRemains(bundle: string, state: string, signal: AbortSignal): Promise<void> {
  const work = criuWorkOf(bundle)
  if (!existsSync(work)) return
  for (let pids = workingIn(work); pids.length > 0; pids = workingIn(work)) {
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It has ended by itself.
      }
    }
    await delay(GONE_POLL_MS, undefined, { signal })
  }
  unmount(join(state, 'criu-root'))
}
