import { membersOf } from '../../../commands/sandbox.ts'
import { holdsHost, tasks } from '../../../commands/task.ts'
import type { View } from '../../../model/aggregate.ts'
import type { Job } from '../../../queue/handler.ts'
import type { TaskEffects } from '../effects.ts'

/** How long is waited for what ended tasks hold, which the shim gives back. */
const RELEASE_MS = 10_000

/** Waits for tasks that have ended, or whose creation had begun before. Those that do not let go lose their shim. */
export async function untilReleased({
  view,
  namespace,
  id,
  signal,
  until,
  logger,
}: Job<unknown, unknown, TaskEffects>): Promise<void> {
  try {
    await until(() => !isHeld(view, namespace, id), AbortSignal.any([signal, AbortSignal.timeout(RELEASE_MS)]))
  } catch (err) {
    if (signal.aborted) throw err
    logger.warn({ err, sandbox: id }, 'a sandbox ends with tasks that have not let go of it')
  }
}

const isHeld = (view: View, namespace: string, id: string): boolean =>
  membersOf(view, namespace, id).some((member) => holdsHost(view.get(tasks, namespace, member)))
