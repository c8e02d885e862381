import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2'
import { connect as connectSocket } from 'node:net'
import {
  create,
  type DescMessage,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf'
import { ERROR_CODES, type ErrorCode, PurserError } from '../model/errors.ts'

const MESSAGE_BYTES_MAX = 16 * 1024 * 1024
/** One byte that says whether it is compressed, four of length. */
const PREFIX_BYTES = 5

const codeOfGrpc = new Map<number, ErrorCode>(
  Object.entries(ERROR_CODES).map(([code, { grpc }]) => [grpc, code as ErrorCode]),
)

/**
 * Calls a gRPC server on a Unix socket. It connects when there is something to call, and anew when the server has gone.
 *
 * @see github.com/grpc/grpc, PROTOCOL-HTTP2.md
 */
export class GrpcClient {
  readonly #socketPath: string
  readonly #metadata: Readonly<Record<string, string>>
  readonly #prefix: string
  #session: ClientHttp2Session | undefined
  #calls = 0

  /** @param prefix of what the server says of an error, so that it is known who says it */
  constructor(socketPath: string, metadata: Readonly<Record<string, string>>, prefix = `${socketPath}: `) {
    this.#socketPath = socketPath
    this.#metadata = metadata
    this.#prefix = prefix
  }

  /**
   * Connects, for a caller that wants to know when the server goes.
   *
   * @returns what is fulfilled when this connection is gone, whoever ended it
   * @throws PurserError unavailable when nothing listens there
   */
  async connect(signal: AbortSignal): Promise<{ closed: Promise<void> }> {
    signal.throwIfAborted()
    const session = this.#connected()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const closed = new Promise<void>((settle) => session.once('close', () => settle()))
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    session.once('error', (cause) =>
      reject(new PurserError('unavailable', `nothing answers at ${this.#socketPath}`, { cause })),
    )
    session.once('close', () => reject(new PurserError('unavailable', `nothing answers at ${this.#socketPath}`)))
    session.once('remoteSettings', () => resolve())
    try {
      await promise
    } catch (error) {
      session.destroy()
      throw error
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
    return { closed }
  }

  close(): void {
    this.#session?.destroy()
    this.#session = undefined
  }

  /**
   * @param service that has the method, where it is of another version than the message types
   * @throws PurserError with the server's code and words; unavailable when it does not answer
   */
  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    signal: AbortSignal,
    service = method.parent.typeName,
  ): Promise<MessageShape<O>> {
    for await (const answer of this.#call(method, request, signal, service)) return answer
    throw new PurserError('internal', `${service}/${method.name} answered nothing`)
  }

  /** Messages as they come. @throws as unary */
  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
    signal: AbortSignal,
  ): AsyncGenerator<MessageShape<O>, void, void> {
    return this.#call(method, request, signal, method.parent.typeName)
  }

  async *#call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O> | DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
    signal: AbortSignal,
    service: string,
  ): AsyncGenerator<MessageShape<O>, void, void> {
    signal.throwIfAborted()
    const session = this.#connected()
    this.#calls += 1
    session.ref()
    const path = `/${service}/${method.name}`
    try {
      const stream = session.request(
        {
          ':method': 'POST',
          ':path': path,
          'content-type': 'application/grpc',
          te: 'trailers',
          ...this.#metadata,
        },
        { signal },
      )
      const outcome = outcomeOf(stream)
      stream.end(framed(toBinary(method.input, create(method.input, request))))
      for await (const message of messagesOf(stream)) yield readAnswer(method, message)
      const { status, message } = await outcome
      if (status === 0) return
      throw new PurserError(codeOfGrpc.get(status) ?? 'unknown', `${this.#prefix}${message || path}`)
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof PurserError) throw error
      throw new PurserError('unavailable', `${this.#socketPath} does not answer: ${messageOf(error)}`, {
        cause: error,
        remedy: 'see that the process that serves it runs',
      })
    } finally {
      this.#calls -= 1
      // An idle connection keeps no process alive.
      if (this.#calls === 0) session.unref()
    }
  }

  #connected(): ClientHttp2Session {
    const known = this.#session
    if (known && !known.closed && !known.destroyed) return known
    const session = connect('http://localhost', { createConnection: () => connectSocket(this.#socketPath) })
    session.on('error', () => {}) // Every stream on it fails with the same.
    session.on('goaway', () => {
      if (this.#session === session) this.#session = undefined
    })
    this.#session = session
    return session
  }
}

function readAnswer<O extends DescMessage>({ name, output }: { name: string; output: O }, message: Uint8Array) {
  try {
    return fromBinary(output, message)
  } catch (cause) {
    throw new PurserError('internal', `the answer to ${name} cannot be read`, { cause })
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

function framed(message: Uint8Array): Buffer {
  const frame = Buffer.alloc(PREFIX_BYTES + message.length)
  frame.writeUInt32BE(message.length, 1)
  frame.set(message, PREFIX_BYTES)
  return frame
}

/** Cuts what arrives into messages. */
async function* messagesOf(stream: ClientHttp2Stream): AsyncGenerator<Buffer, void, void> {
  let pending: Buffer = Buffer.alloc(0)
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
    while (pending.length >= PREFIX_BYTES) {
      const length = pending.readUInt32BE(1)
      if (pending[0] !== 0) throw new PurserError('unimplemented', 'the server compresses its messages')
      if (length > MESSAGE_BYTES_MAX) {
        throw new PurserError('resource_exhausted', `a message of ${length} bytes, the limit is ${MESSAGE_BYTES_MAX}`)
      }
      if (pending.length < PREFIX_BYTES + length) break
      yield pending.subarray(PREFIX_BYTES, PREFIX_BYTES + length)
      pending = pending.subarray(PREFIX_BYTES + length)
    }
  }
}

/** The status comes after the messages, or, without any, in the headers. */
function outcomeOf(stream: ClientHttp2Stream): Promise<{ status: number; message: string }> {
  return new Promise((resolve) => {
    const read = (headers: Record<string, unknown>): boolean => {
      const status = Number(headers['grpc-status'])
      if (headers['grpc-status'] === undefined || !Number.isInteger(status)) return false
      resolve({ status, message: decodeURIComponent(String(headers['grpc-message'] ?? '')) })
      return true
    }
    let httpStatus: unknown
    stream.on('response', (headers) => {
      httpStatus = headers[constants.HTTP2_HEADER_STATUS]
      read(headers)
    })
    stream.on('trailers', read)
    // Whatever read first has won.
    stream.on('close', () => resolve({ status: 14, message: `no status, HTTP ${httpStatus ?? 'nothing'}` }))
  })
}
