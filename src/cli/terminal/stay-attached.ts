import { setTimeout as delay } from 'node:timers/promises'
import type { PurserClient } from '../../client/index.ts'
import { errorCodeOf } from '../../model/errors.ts'
import { type AttachOptions, attach, type Shown } from './attach.ts'

const RETRY_MS = 200
/** How long a daemon that went away is given to come back; the process goes on in any case. */
const RECONNECT_MS = 60_000

export interface StayAttachedOptions extends Omit<AttachOptions, 'path' | 'shown'> {
  /** Of the WebSocket. */
  path: string
  query: Readonly<Record<string, string>>
  /** Whether the daemon has the output to begin again where it broke off: that of a container, not of an exec. */
  output: 'kept' | 'passing'
}

/** Attaches, and attaches again when the daemon was away; what is kept goes on where it broke off. */
export async function stayAttached(
  client: PurserClient,
  { path, query, output, ...options }: StayAttachedOptions,
): Promise<number | 'detached'> {
  const shown: Shown | undefined = output === 'kept' ? { stdout: 0, stderr: 0 } : undefined
  let goneSince: number | undefined
  for (;;) {
    const askedAt = performance.now()
    const parameters = new URLSearchParams(query)
    if (shown) parameters.set('positions', 'true')
    if (shown?.position !== undefined) parameters.set('from', shown.position)
    try {
      return await attach(client, { ...options, path: `${path}?${parameters}`, ...(shown ? { shown } : {}) })
    } catch (error) {
      const now = performance.now()
      // One that held the session for long was there.
      if (goneSince === undefined || now - askedAt > RETRY_MS) goneSince = now
      if (errorCodeOf(error) !== 'unavailable' || now - goneSince > RECONNECT_MS) throw error
    }
    await delay(RETRY_MS, undefined, { signal: options.signal })
  }
}
