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
