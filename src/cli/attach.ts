import { WebSocket } from 'ws'
import type { PurserClient } from '../client/index.ts'
import { type ErrorBody, PurserError } from '../model/errors.ts'

const STDIN = 0
const STDOUT = 1
const STDERR = 2
const STATUS = 3
const RESIZE = 4
const CLOSE = 255

export interface AttachOptions {
  path: string
  interactive: boolean
  tty: boolean
}

/** Connects this process's streams with a container's. @returns its exit code */
export async function attach(
  client: PurserClient,
  { path, interactive, tty }: AttachOptions,
  signal?: AbortSignal,
): Promise<number> {
  const socket = new WebSocket(`ws+unix://${client.socketPath}:${path}`, 'v5.channel.k8s.io', {
    headers: { 'purser-namespace': client.namespace },
  })
  const onAbort = () => socket.terminate()
  signal?.addEventListener('abort', onAbort, { once: true })
  const send = (channel: number, data: Uint8Array | string) =>
    socket.readyState === WebSocket.OPEN && socket.send(Buffer.concat([Buffer.of(channel), Buffer.from(data)]))
  const resize = () => send(RESIZE, JSON.stringify({ width: process.stdout.columns, height: process.stdout.rows }))
  const onData = (chunk: Buffer) => send(STDIN, chunk)
  const onEnd = () => send(CLOSE, Buffer.of(STDIN))
  const raw = tty && process.stdin.isTTY
  try {
    return await new Promise<number>((done, fail) => {
      socket.on('open', () => {
        if (tty && process.stdout.isTTY) {
          resize()
          process.stdout.on('resize', resize)
        }
        if (!interactive) return
        if (raw) process.stdin.setRawMode(true)
        process.stdin.on('data', onData).on('end', onEnd)
      })
      socket.on('message', (message: Buffer) => {
        const data = message.subarray(1)
        if (message[0] === STDOUT) write(process.stdout, data, socket)
        else if (message[0] === STDERR) write(process.stderr, data, socket)
        else if (message[0] === STATUS) {
          const status: { exitCode?: number; error?: ErrorBody & { detail?: string } } = JSON.parse(data.toString())
          if (status.exitCode !== undefined) done(status.exitCode)
          else
            fail(
              PurserError.fromBody({
                ...status.error,
                code: status.error?.code ?? 'unknown',
                message: status.error?.detail ?? 'it failed',
              }),
            )
        }
      })
      socket.on('error', fail)
      socket.on('close', () => fail(new PurserError('unavailable', 'the connection to the daemon was lost')))
    })
  } finally {
    signal?.removeEventListener('abort', onAbort)
    if (raw) process.stdin.setRawMode(false)
    process.stdout.off('resize', resize)
    process.stdin.off('data', onData).off('end', onEnd)
    if (interactive) process.stdin.unref?.()
    socket.close()
  }
}

/** A reader that is slow here slows the connection down, not our memory up. */
function write(stream: NodeJS.WriteStream, data: Buffer, socket: WebSocket): void {
  if (stream.write(data)) return
  socket.pause()
  stream.once('drain', () => socket.resume())
}
