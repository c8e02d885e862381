import type { Exit, PurserClient } from '../../client/index.ts'
import { WebSocketClient } from '../../client/web-socket.ts'
import { type ErrorBody, PurserError } from '../../model/errors.ts'
import { DetachKeys } from './detach-keys.ts'

/** The first byte of every message. @see docs/http.md */
const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, status: 3, resize: 4, position: 5, close: 255 } as const

/** Bytes of input that may wait for the daemon before the keyboard, or the pipe, is read no further. */
const BEHIND_BYTES_MAX = 256 * 1024

export interface AttachOptions {
  /** Of the WebSocket. */
  path: string
  interactive: boolean
  tty: boolean
  /** Bytes that, typed one after the other, end the session and leave the process alone. */
  detachKeys: readonly number[]
  signal?: AbortSignal
  /** Called when output has come, before it is written. */
  onOutput?: () => void
  /** What earlier sessions have shown of the output that this one begins with; told on in here. */
  shown?: Shown
}

/** How far output has been shown: up to a position in the log, or from the beginning, and so many bytes of each stream beyond. */
export interface Shown {
  position?: string
  stdout: number
  stderr: number
}

/**
 * Connects this process's streams with a container's until that one's process ends.
 *
 * @returns its exit code, or `detached`
 * @throws PurserError what the daemon says, or unavailable when it goes away
 */
export async function attach(
  client: PurserClient,
  { path, interactive, tty, detachKeys, signal, onOutput, shown = { stdout: 0, stderr: 0 } }: AttachOptions,
): Promise<number | 'detached'> {
  const socket = new WebSocketClient({
    socketPath: client.socketPath,
    path,
    protocol: 'v5.channel.k8s.io',
    headers: { 'purser-namespace': client.namespace },
  })
  await using session = new AsyncDisposableStack()
  session.defer(() => socket.close())
  const isRaw = interactive && tty && process.stdin.isTTY
  const known = { stdout: shown.stdout, stderr: shown.stderr }
  const show = (stream: 'stdout' | 'stderr', data: Buffer) => {
    const fresh = data.subarray(known[stream])
    known[stream] -= data.length - fresh.length
    shown[stream] += fresh.length
    if (fresh.length > 0) write(process[stream], fresh, socket)
  }
  const reach = (position: string) => {
    if (known.stdout + known.stderr === 0) Object.assign(shown, { position, stdout: 0, stderr: 0 })
  }
  return await new Promise<number | 'detached'>((done, fail) => {
    const onAbort = () => fail(signal?.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    session.defer(() => signal?.removeEventListener('abort', onAbort))
    socket.on('open', () => {
      if (tty && process.stdout.isTTY) session.defer(sendSizes(socket))
      if (interactive) session.defer(sendInput(socket, isRaw ? detachKeys : [], () => done('detached')))
      if (isRaw) session.defer(makeRaw(process.stdin))
    })
    socket.on('message', (message: Buffer) => {
      const data = message.subarray(1)
      if (message[0] === CHANNEL.position) return reach(data.toString())
      if (message[0] !== CHANNEL.status) onOutput?.()
      if (message[0] === CHANNEL.stdout) show('stdout', data)
      else if (message[0] === CHANNEL.stderr) show('stderr', data)
      else if (message[0] === CHANNEL.status) {
        const status: Partial<Exit> & { error?: ErrorBody & { detail?: string } } = JSON.parse(data.toString())
        if (status.droppedBytes !== undefined) {
          process.stderr.write(`purser: ${status.droppedBytes} bytes of output beyond --output-limit were dropped\n`)
        }
        if (status.exitCode !== undefined) done(status.exitCode)
        else fail(errorOf(status.error))
      }
    })
    socket.on('refused', (response) => {
      response.toArray().then((chunks: Buffer[]) => fail(errorOf(JSON.parse(Buffer.concat(chunks).toString()))), fail)
    })
    socket.on('error', (cause) => fail(lost(cause)))
    socket.on('close', () => fail(lost()))
  })
}

/** Hands keys on as they are typed, and shows what comes as it comes. @returns what restores the terminal */
function makeRaw(terminal: NodeJS.ReadStream): () => void {
  terminal.setRawMode(true)
  // Node leaves the terminal to put a carriage return before each line feed, which the container's has done already.
  process
    .getBuiltinModule('node:child_process')
    .spawnSync('stty', ['-opost'], { stdio: ['inherit', 'ignore', 'ignore'] })
  return () => void terminal.setRawMode(false)
}

/** Tells the size of this terminal now and whenever it changes. @returns what ends that */
function sendSizes(socket: WebSocketClient): () => void {
  const tell = () => send(socket, CHANNEL.resize, { width: process.stdout.columns, height: process.stdout.rows })
  tell()
  process.stdout.on('resize', tell)
  return () => void process.stdout.off('resize', tell)
}

/** Sends what is typed or piped in, up to its end. @returns what ends that */
function sendInput(socket: WebSocketClient, detachKeys: readonly number[], onDetached: () => void): () => void {
  const keys = new DetachKeys(detachKeys)
  const { stdin } = process
  const onData = (chunk: Buffer) => {
    const { input, isDetached } = keys.feed(chunk)
    if (input.length > 0) {
      socket.send(Buffer.concat([Buffer.of(CHANNEL.stdin), input]), () => {
        if (socket.bufferedBytes <= BEHIND_BYTES_MAX) stdin.resume()
      })
      if (socket.bufferedBytes > BEHIND_BYTES_MAX) stdin.pause()
    }
    if (isDetached) onDetached()
  }
  const onEnd = () => socket.send(Buffer.of(CHANNEL.close, CHANNEL.stdin))
  stdin.ref?.()
  stdin.on('data', onData).on('end', onEnd).resume()
  if (stdin.readableEnded) onEnd()
  return () => {
    stdin.off('data', onData).off('end', onEnd)
    stdin.pause()
    // A pipe that nobody closes must not keep this process.
    stdin.unref?.()
  }
}

/** A reader that is slow here slows the connection down, not our memory up. */
function write(stream: NodeJS.WriteStream, data: Buffer, socket: WebSocketClient): void {
  if (stream.write(data)) return
  socket.pause()
  stream.once('drain', () => socket.resume())
}

function send(socket: WebSocketClient, channel: number, message: object): void {
  socket.send(Buffer.concat([Buffer.of(channel), Buffer.from(JSON.stringify(message))]))
}

const errorOf = (problem: (Partial<ErrorBody> & { detail?: string }) | undefined): PurserError =>
  PurserError.fromBody({ ...problem, code: problem?.code ?? 'unknown', message: problem?.detail ?? 'it failed' })

const lost = (cause?: Error): PurserError =>
  new PurserError('unavailable', 'the connection to the daemon was lost; the container goes on', {
    ...(cause === undefined ? {} : { cause }),
    remedy: 'when the daemon is back: purser attach, purser logs -f or purser wait',
  })
