import { EventEmitter } from 'node:events'
import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { randomBytes } from './random.ts'
import { requestOver } from './unix-socket.ts'
import { encodeFrame, type Frame, FrameReader, OPCODE } from './web-socket-frames.ts'

/**
 * The nonce of the RFC's own example, and what it is answered with. A random one tells a server from a cache between, and there is
 * none on a Unix socket; to check it takes SHA-1, and loading that a fifth of the CPU time of a command.
 *
 * @see RFC 6455, section 1.3
 */
const NONCE = { key: 'dGhlIHNhbXBsZSBub25jZQ==', accept: 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=' }
const MESSAGE_BYTES_MAX = 16 * 1024 * 1024
const NORMAL = Buffer.of(0x03, 0xe8)

export interface WebSocketOptions {
  socketPath: string
  path: string
  /** The subprotocol. */
  protocol: string
  headers?: Readonly<Record<string, string>>
}

interface Events {
  open: []
  message: [Buffer]
  /** Instead of `open`, when the server answers without an upgrade. */
  refused: [IncomingMessage]
  error: [Error]
  close: []
}

/**
 * A WebSocket over a Unix socket. Not the library that the daemon uses: loading that one takes as long as all the rest of
 * `purser run` together. A client of our own daemon needs no extensions, no TLS and no redirects.
 *
 * @see RFC 6455
 */
export class WebSocketClient extends EventEmitter<Events> {
  readonly #reader = new FrameReader(MESSAGE_BYTES_MAX)
  readonly #outgoing: ClientRequest
  #stream: Duplex | undefined
  #parts: Buffer[] = []
  #partBytes = 0
  #isClosing = false

  constructor({ socketPath, path, protocol, headers = {} }: WebSocketOptions) {
    super()
    this.#outgoing = requestOver(socketPath, {
      path,
      headers: {
        ...headers,
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': NONCE.key,
        'sec-websocket-protocol': protocol,
      },
    })
    this.#outgoing.on('response', (response) => this.emit('refused', response))
    this.#outgoing.on('error', (error) => this.emit('error', error))
    this.#outgoing.on('upgrade', (response, stream, head) => this.#upgraded(response, stream, head))
    this.#outgoing.end()
  }

  get isOpen(): boolean {
    return this.#stream !== undefined && !this.#isClosing && !this.#stream.destroyed
  }

  /** Bytes that wait to be sent. */
  get bufferedBytes(): number {
    return this.#stream?.writableLength ?? 0
  }

  send(data: Uint8Array, onSent?: () => void): void {
    this.#write(OPCODE.binary, data, onSent)
  }

  /** Reads no further; what comes waits at the daemon. */
  pause(): void {
    this.#stream?.pause()
  }

  resume(): void {
    this.#stream?.resume()
  }

  /** Says goodbye. The daemon's answer is not waited for: a process that has nothing else to do may end. */
  close(): void {
    if (!this.isOpen) {
      this.terminate()
      return
    }
    this.#write(OPCODE.close, NORMAL)
    this.#isClosing = true
    this.#stream?.end()
    this.#stream?.resume() // One that is paused would not see the daemon leave.
  }

  terminate(): void {
    this.#outgoing.destroy()
    this.#stream?.destroy()
  }

  #upgraded(response: IncomingMessage, stream: Duplex, head: Buffer): void {
    this.#stream = stream
    stream.on('error', (error) => this.emit('error', error))
    stream.on('close', () => this.emit('close'))
    if (response.headers['sec-websocket-accept'] !== NONCE.accept) {
      stream.destroy(new Error('what answered is no WebSocket'))
      return
    }
    stream.on('data', (chunk: Buffer) => this.#received(chunk))
    this.emit('open')
    if (head.length > 0) this.#received(head)
  }

  #received(chunk: Buffer): void {
    try {
      for (const frame of this.#reader.push(chunk)) this.#frame(frame)
    } catch (error) {
      this.#stream?.destroy(error instanceof Error ? error : new Error(String(error)))
    }
  }

  #frame({ opcode, isFinal, payload }: Frame): void {
    if (opcode === OPCODE.ping) this.#write(OPCODE.pong, payload)
    else if (opcode === OPCODE.close) this.close()
    else if (opcode !== OPCODE.pong) this.#part(isFinal, payload)
  }

  #part(isFinal: boolean, payload: Buffer): void {
    if (isFinal && this.#parts.length === 0) {
      this.emit('message', payload)
      return
    }
    this.#partBytes += payload.length
    if (this.#partBytes > MESSAGE_BYTES_MAX) throw new RangeError(`a message of more than ${MESSAGE_BYTES_MAX} bytes`)
    this.#parts.push(payload)
    if (!isFinal) return
    const whole = Buffer.concat(this.#parts)
    this.#parts = []
    this.#partBytes = 0
    this.emit('message', whole)
  }

  #write(opcode: number, payload: Uint8Array, onSent?: () => void): void {
    if (this.isOpen) this.#stream?.write(encodeFrame(opcode, payload, randomBytes(4)), () => onSent?.())
  }
}
