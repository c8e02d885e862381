import type { PurserClient } from '../../client/index.ts'
import { type AttachOptions, attach } from './attach.ts'
import { forwarding, Signals } from './signals.ts'

export interface Target {
  id: string
  execId?: string
}

/**
 * Attaches to a process in a container and hands signals on to it.
 *
 * @returns the exit status: the process's, 0 when detached, or that of Ctrl-C for whoever left with it
 */
export async function attachWithSignals(
  client: PurserClient,
  { id, execId }: Target,
  options: AttachOptions,
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
    const ended = await attach(client, { ...options, signal: left.signal })
    return ended === 'detached' ? 0 : ended
  } catch (error) {
    if (statusLeft !== 0) return statusLeft
    throw error
  }
}
