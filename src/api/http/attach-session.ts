import { type RawData, WebSocket } from 'ws'
import { z } from 'zod'
import { PurserError, toPurserError } from '../../model/errors.ts'
import { parse } from '../../model/parse.ts'
import type { Attachment, Exit, OutputStream } from '../services.ts'
import { type Problem, problemOf } from './problem.ts'
import type { Call } from './route.ts'

/** The first byte of every message. Positions are ours. @see Kubernetes, v5.channel.k8s.io */
const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, status: 3, resize: 4, position: 5, close: 255 } as const
const CHANNEL_OF: Record<OutputStream, number> = { stdout: CHANNEL.stdout, stderr: CHANNEL.stderr }

/** Bytes that may wait for a slow client before the process is read no further. */
const BEHIND_BYTES_MAX = 256 * 1024
/** How long a client may take to answer the end of a session. */
const CLOSING_MS = 5000
const NORMAL = 1000

const size = z.strictObject({ width: z.int().min(1).max(65_535), height: z.int().min(1).max(65_535) })

type Attached = [attachment: Attachment, exit: Promise<Exit>]
type AttachCall = Call<unknown, { stdin: boolean; positions?: boolean }>

/** Serves one client: output out, input in, at the end how the process ended or what went wrong. */
export function attachSession(
  { query: { stdin, positions = false }, signal }: AttachCall,
  attach: () => Attached | Promise<Attached>,
): (socket: WebSocket) => Promise<void> {
  return async (socket) => {
    const input = new Input(socket)
    let status: Exit | { error: Problem }
    try {
      const [attachment, exit] = await attach()
      exit.catch(() => {}) // Awaited when the output has ended.
      await using _ = attachment
      const refused = input.pump(attachment, stdin)
      await Promise.race([sendOutput(socket, attachment, positions, signal), refused])
      status = await Promise.race([exit, refused])
    } catch (error) {
      if (signal.aborted) throw error
      status = { error: problemOf(toPurserError(error).toBody()) }
    }
    await send(socket, CHANNEL.status, Buffer.from(JSON.stringify(status)))
    await closed(socket)
  }
}

async function sendOutput(
  socket: WebSocket,
  attachment: Attachment,
  positions: boolean,
  signal: AbortSignal,
): Promise<void> {
  for await (const { stream, chunk, position } of attachment.output) {
    signal.throwIfAborted()
    const sent = chunk.length > 0 ? [send(socket, CHANNEL_OF[stream], chunk)] : []
    if (positions && position !== undefined) sent.push(send(socket, CHANNEL.position, Buffer.from(position)))
    const all = Promise.all(sent)
    if (socket.bufferedAmount > BEHIND_BYTES_MAX) await all
    else all.catch(() => {}) // The signal tells that the client has gone.
  }
}

/** What the client sends, handed on one message at a time: while the process takes nothing, the socket is not read. */
class Input {
  readonly #socket: WebSocket
  #messages: Buffer[] = []
  #wake = () => {}

  constructor(socket: WebSocket) {
    this.#socket = socket
    socket.on('message', (data) => {
      this.#messages.push(bytesOf(data))
      socket.pause()
      this.#wake()
    })
  }

  /** Hands on until the client goes. Never resolves; rejects when a message cannot be followed. */
  async pump(attachment: Attachment, stdin: boolean): Promise<never> {
    for (;;) {
      const message = this.#messages.shift()
      if (message) {
        await follow(message, attachment, stdin)
        continue
      }
      const arrived = new Promise<void>((resolve) => {
        this.#wake = resolve
      })
      this.#socket.resume()
      await arrived
    }
  }
}

/** @throws PurserError invalid_argument, or failed_precondition when the process has no such stream */
async function follow(message: Buffer, attachment: Attachment, stdin: boolean): Promise<void> {
  const channel = message[0]
  const body = message.subarray(1)
  switch (channel) {
    case CHANNEL.stdin:
      if (stdin) return await ignoringEnded(attachment.writeStdin(body))
      throw new PurserError('failed_precondition', 'this session was opened without standard input', {
        remedy: 'attach with stdin=true',
      })
    case CHANNEL.resize: {
      const { width, height } = parse(size, jsonOf(body), 'resize')
      return await attachment.resize(width, height)
    }
    case CHANNEL.close:
      if (body[0] === CHANNEL.stdin && stdin) return await ignoringEnded(attachment.closeStdin())
      return
    default:
      throw new PurserError('invalid_argument', `channel ${channel ?? 'none'} takes no messages`, {
        remedy: 'send on 0 (standard input), 4 (resize) or 255 (close)',
      })
  }
}

/** A process that has closed its input, or has ended, takes no more; its output is still of interest. */
async function ignoringEnded(writing: Promise<void>): Promise<void> {
  try {
    await writing
  } catch (error) {
    if (error instanceof PurserError) throw error
  }
}

/** Resolves when the message has left for the client. */
async function send(socket: WebSocket, channel: number, body: Uint8Array): Promise<void> {
  const message = Buffer.allocUnsafe(body.length + 1)
  message[0] = channel
  message.set(body, 1)
  await new Promise<void>((resolve, reject) => {
    socket.send(message, (error) => (error ? reject(error) : resolve()))
  })
}

async function closed(socket: WebSocket): Promise<void> {
  if (socket.readyState === WebSocket.CLOSED) return
  socket.resume() // For the client's own closing message.
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => socket.terminate(), CLOSING_MS)
    socket.once('close', () => {
      clearTimeout(timer)
      resolve()
    })
    socket.close(NORMAL)
  })
}

function bytesOf(data: RawData): Buffer {
  if (Array.isArray(data)) return Buffer.concat(data)
  return Buffer.isBuffer(data) ? data : Buffer.from(data)
}

function jsonOf(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString())
  } catch (cause) {
    throw new PurserError('invalid_argument', 'resize: the message is not JSON', {
      cause,
      remedy: 'send {"width": 80, "height": 24}',
    })
  }
}
