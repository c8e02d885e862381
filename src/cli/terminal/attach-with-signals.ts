import type { PurserClient } from '../../client/index.ts'
import { forwarding, Signals } from './signals.ts'
import { type StayAttachedOptions, stayAttached } from './stay-attached.ts'

export interface Target {
  id: string
  execId?: string
}

/**
 * Attaches to a process in a container, also over a restart of the daemon, and hands signals on to it.
 *
 * @returns the exit status: the process's, 0 when detached, or that of Ctrl-C for whoever left with it
 */
export async function attachWithSignals(
  client: PurserClient,
  { id, execId }: Target,
  options: StayAttachedOptions,
): Promise<number> {
  const left = new AbortController()
  let statusLeft = 0
  const handler = forwarding(
    (signal) =>
      client.submit('task.kill', { subject: id, payload: { signal, ...(execId === undefined ? {} : { execId }) } }),
    (status) => {
      statusLeft = status
      left.abort()
    },
  )
  using _ = new Signals(handler)
  try {
    const ended = await stayAttached(client, { ...options, signal: left.signal })
    return ended === 'detached' ? 0 : ended
  } catch (error) {
    if (statusLeft !== 0) return statusLeft
    throw error
  }
}
