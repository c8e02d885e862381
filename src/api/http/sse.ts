import type { ByteStream } from './byte-stream.ts'

export const EVENT_STREAM = 'text/event-stream'

const HEARTBEAT_MS = 15_000

/** One server-sent event; JSON has no line breaks. @see HTML Standard, section 9.2.6 */
export function sseEvent({ id, event, data }: { id?: number; event: string; data: unknown }): string {
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`
}

/**
 * Comments that keep the connection alive and let the server notice when the client has gone.
 *
 * @param position where the client can resume by now, though it may have been sent no event for long
 */
export function heartbeats(stream: ByteStream, position?: () => number): Disposable {
  const beat = () => stream.beat(position === undefined ? ': heartbeat\n\n' : `: heartbeat\nid: ${position()}\n\n`)
  const timer = setInterval(beat, HEARTBEAT_MS)
  timer.unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}
