export interface ServerSentEvent {
  /** Of this event, or of the last one that had an id. */
  id: string | undefined
  event: string
  /** Undefined when only an id was sent. */
  data: string | undefined
}

/** Reads server-sent events from the lines of a stream. @see HTML Standard, section 9.2.6 */
export async function* serverSentEvents(lines: AsyncIterable<Buffer>): AsyncGenerator<ServerSentEvent> {
  let id: string | undefined
  let event = 'message'
  let data: string | undefined
  let isOpen = false
  for await (const bytes of lines) {
    const line = bytes.toString()
    if (line === '') {
      if (isOpen) yield { id, event, data }
      event = 'message'
      data = undefined
      isOpen = false
      continue
    }
    const colon = line.indexOf(':')
    if (colon === 0) continue // A comment: a sign of life.
    const name = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    isOpen = true
    if (name === 'id') id = value
    else if (name === 'event') event = value
    else if (name === 'data') data = data === undefined ? value : `${data}\n${value}`
  }
}
