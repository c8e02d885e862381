/** What is kept while no daemon is there: a process's streams, and the log that they go to. */
export interface KeptOutput {
  /** Of the container, with its namespace. */
  key: string
  /** Directory of the FIFOs. */
  stdioDir: string
  output: 'pipes' | 'terminal'
  logPath: string
  /** Of the log; none for no limit. */
  maxBytes?: number
  filesMax: number
  bytesPerSecond?: number
}

/** What a daemon says, a line of JSON each. */
export type ToKeeper = { add: KeptOutput } | { remove: string }

/** What it is told when it connects: nothing is read any more, and all that was is in the files. */
export interface FromKeeper {
  yours: true
}

/** Lines of JSON out of what comes in pieces. */
export function jsonLines<T>(onLine: (line: T) => void): (text: string) => void {
  let rest = ''
  return (text) => {
    const lines = `${rest}${text}`.split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) onLine(JSON.parse(line))
  }
}
