export interface LogLine {
  /** RFC 3339, UTC. */
  time: string
  stream: 'stdout' | 'stderr'
  /** Whether the line goes on with the next one of its stream. */
  isPartial: boolean
  /** Without the line feed; any bytes. */
  text: Buffer
}

const SPACE = 0x20

/** Parses `TIME STREAM F|P TEXT`. @see Kubernetes, CRI log format */
export function parseLogLine(line: Buffer): LogLine {
  const first = line.indexOf(SPACE)
  const second = line.indexOf(SPACE, first + 1)
  const third = line.indexOf(SPACE, second + 1)
  const head = line.toString('latin1', 0, third < 0 ? line.length : third).split(' ')
  return {
    time: head[0] ?? '',
    stream: head[1] === 'stderr' ? 'stderr' : 'stdout',
    isPartial: head[2] === 'P',
    text: third < 0 ? Buffer.alloc(0) : line.subarray(third + 1),
  }
}

/** Lines of a log that is asked for again: those that were seen are left out. */
export class SeenLines {
  /** The time of the last one, and how many there were of that time. */
  #time: string | undefined
  #count = 0

  /** What to ask for, in place of what was asked for at first. */
  resumption(): { since?: string; tail?: undefined } {
    return this.#time === undefined ? {} : { since: this.#time, tail: undefined }
  }

  async *fresh(lines: AsyncIterable<Buffer>): AsyncGenerator<LogLine> {
    const before = this.#time
    let known = this.#count
    for await (const bytes of lines) {
      const line = parseLogLine(bytes)
      if (known > 0 && line.time === before) {
        known -= 1
        continue
      }
      this.#count = line.time === this.#time ? this.#count + 1 : 1
      this.#time = line.time
      yield line
    }
  }
}
