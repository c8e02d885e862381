import type { CommandView, PurserClient, SucceededCommand } from '../../client/index.ts'
import { showProgress } from './progress.ts'
import { Signals, statusOf } from './signals.ts'

/** The last bars are drawn within this, or not at all. */
const LAST_BARS_MS = 1000

/**
 * Waits for a command; a signal cancels it.
 *
 * @param progress whether its bars are drawn
 * @returns the command when it has succeeded, the exit status when a signal has ended it
 * @throws PurserError what it failed with
 */
export async function followCommand(
  client: PurserClient,
  accepted: CommandView,
  progress: 'shown' | 'hidden',
): Promise<SucceededCommand | number> {
  const left = new AbortController()
  const settled = new AbortController()
  let status = 0
  using _ = new Signals((signal) => {
    // A second one does not wait for the daemon.
    if (status !== 0) return left.abort()
    status = statusOf(signal)
    client.cancel(accepted.id).catch(() => {}) // It has ended meanwhile.
  })
  const shown = progress === 'shown' ? showProgress(client, accepted.id, settled.signal, process.stdout) : undefined
  shown?.catch(() => {}) // The command's own failure is what counts.
  try {
    const ended = await client.ended(accepted.id, left.signal)
    const late = setTimeout(() => settled.abort(), LAST_BARS_MS)
    await shown?.catch(() => {})
    clearTimeout(late)
    return ended
  } catch (error) {
    if (status === 0) throw error
    return status
  } finally {
    settled.abort()
  }
}
