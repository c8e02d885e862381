import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'

const SEEN_MS_MAX = 20_000

/** A program on a pseudo-terminal of its own, made by script(1) of util-linux. */
export interface Terminal extends AsyncDisposable {
  /** Everything that was shown. */
  readonly shown: string
  type(text: string): void
  /** Waits until a text is shown, after all that was waited for before. @returns what was shown up to its end */
  see(text: string): Promise<string>
  resize(rows: number, columns: number): void
  /** Its settings, as `stty -a` tells them. */
  settings(): string
  /** The program's exit status, when it has ended. */
  readonly exitCode: Promise<number>
}

/** @param command program and arguments */
export async function openTerminal(command: readonly string[]): Promise<Terminal> {
  const quoted = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ')
  // The terminal outlives the program by a moment, so that a test can see what it was left like. Ctrl-C is the program's
  // affair: the shell that waits for it, which may be dash, must not end of it.
  const line = `trap : INT; tty; stty rows 24 cols 80; ${quoted}; status=$?; echo "<ended>"; read _; exit $status`
  const child = spawn('script', ['-qfec', line, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] })
  let shown = ''
  let from = 0
  let changed = Promise.withResolvers<void>()
  child.stdout.on('data', (chunk: Buffer) => {
    shown += chunk.toString('latin1')
    changed.resolve()
    changed = Promise.withResolvers()
  })
  const closed = once(child, 'close')
  const see = async (text: string): Promise<string> => {
    const late = AbortSignal.timeout(SEEN_MS_MAX)
    for (;;) {
      const at = shown.indexOf(text, from)
      if (at >= 0) {
        const part = shown.slice(from, at + text.length)
        from = at + text.length
        return part
      }
      if (late.aborted || child.exitCode !== null) {
        throw new Error(`${JSON.stringify(text)} is not shown: ${JSON.stringify(shown.slice(from))}`)
      }
      await Promise.race([changed.promise, closed, once(late, 'abort')])
    }
  }
  const path = (await see('\r\n')).trim()
  const ended = see.bind(undefined, '<ended>')
  return {
    get shown() {
      return shown
    },
    type: (text) => void child.stdin.write(text),
    see,
    resize: (rows, columns) => {
      execFileSync('stty', ['-F', path, 'rows', String(rows), 'cols', String(columns)])
    },
    settings: () => execFileSync('stty', ['-F', path, '-a'], { encoding: 'utf8' }),
    get exitCode() {
      return ended().then(async () => {
        child.stdin.write('\n')
        const [code] = await closed
        return Number(code)
      })
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGKILL')
      await closed
    },
  }
}
