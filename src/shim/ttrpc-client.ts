import { connect, type Socket } from 'node:net'
import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf'
import { ERROR_CODES, type ErrorCode, PurserError } from '../model/errors.ts'
import { RequestSchema, ResponseSchema } from './gen/ttrpc_pb.ts'
import { type CallOptions, readAnswer, type TaskClient, tooLate } from './task-client.ts'
import { encodeFrame, FRAME_REQUEST, FRAME_RESPONSE, FrameDecoder } from './ttrpc-frames.ts'

interface PendingCall {
  resolve(payload: Uint8Array): void
  reject(reason: unknown): void
}

const codeOfGrpc = new Map<number, ErrorCode>(
  Object.entries(ERROR_CODES).map(([code, { grpc }]) => [grpc, code as ErrorCode]),
)

/** A connection to a ttrpc server on a Unix socket: any number of unary calls at once. */
export class TtrpcClient implements TaskClient {
  readonly #socket: Socket
  readonly #socketPath: string
  readonly #decoder = new FrameDecoder()
  readonly #pending = new Map<number, PendingCall>()
  readonly #closed = Promise.withResolvers<void>()
  #lastStreamId = -1
  #lost: PurserError | undefined

  private constructor(socket: Socket, socketPath: string) {
    this.#socket = socket
    this.#socketPath = socketPath
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('error', (error) => this.#lose(error))
    socket.on('close', () => this.#lose())
  }

  /** @throws PurserError unavailable when nothing listens at `socketPath` */
  static async connect(socketPath: string, signal: AbortSignal): Promise<TtrpcClient> {
    signal.throwIfAborted()
    const socket = connect({ path: socketPath })
    return await new Promise<TtrpcClient>((resolve, reject) => {
      const settle = () => {
        signal.removeEventListener('abort', onAbort)
        socket.off('error', onError)
        socket.off('connect', onConnect)
      }
      const onAbort = () => {
        settle()
        socket.destroy()
        reject(signal.reason)
      }
      const onError = (cause: Error) => {
        settle()
        reject(new PurserError('unavailable', `nothing answers at ${socketPath}`, { cause }))
      }
      const onConnect = () => {
        settle()
        resolve(new TtrpcClient(socket, socketPath))
      }
      signal.addEventListener('abort', onAbort, { once: true })
      socket.on('error', onError)
      socket.on('connect', onConnect)
    })
  }

  get isClosed(): boolean {
    return this.#lost !== undefined
  }

  get closed(): Promise<void> {
    return this.#closed.promise
  }

  async call<I extends DescMessage, O extends DescMessage>(
    service: string,
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    { signal, timeoutMs }: CallOptions,
  ): Promise<MessageShape<O>> {
    signal.throwIfAborted()
    if (this.#lost) throw this.#lost
    const call = create(RequestSchema, {
      service,
      method: method.name,
      payload: toBinary(method.input, create(method.input, request)),
      timeoutNano: BigInt(timeoutMs ?? 0) * 1_000_000n,
    })
    this.#lastStreamId += 2 // A client's streams are odd and rise.
    const streamId = this.#lastStreamId
    const frame = encodeFrame({ streamId, type: FRAME_REQUEST, payload: toBinary(RequestSchema, call) })
    const payload = await this.#exchange(streamId, frame, `${method.name}`, signal, timeoutMs)
    return readAnswer(method, payload)
  }

  close(): void {
    this.#socket.destroy()
    this.#lose()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #exchange(
    streamId: number,
    frame: Buffer,
    name: string,
    signal: AbortSignal,
    timeoutMs: number | undefined,
  ): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        this.#pending.delete(streamId)
        signal.removeEventListener('abort', onAbort)
        clearTimeout(timer)
      }
      const onAbort = () => {
        settle()
        reject(signal.reason)
      }
      const onTimeout = (ms: number) => {
        settle()
        reject(tooLate(name, ms))
      }
      const timer = timeoutMs === undefined ? undefined : setTimeout(onTimeout, timeoutMs, timeoutMs)
      signal.addEventListener('abort', onAbort, { once: true })
      this.#pending.set(streamId, {
        resolve(payload) {
          settle()
          resolve(payload)
        },
        reject(reason) {
          settle()
          reject(reason)
        },
      })
      this.#socket.write(frame)
    })
  }

  #read(chunk: Buffer): void {
    try {
      for (const frame of this.#decoder.push(chunk)) {
        if (frame.type === FRAME_RESPONSE) this.#answer(frame.streamId, frame.payload)
      }
    } catch (error) {
      this.#socket.destroy()
      this.#lose(error)
    }
  }

  #answer(streamId: number, bytes: Uint8Array): void {
    const call = this.#pending.get(streamId)
    if (!call) return // Its caller has given up.
    const { status, payload } = fromBinary(ResponseSchema, bytes)
    if (!status || status.code === 0) call.resolve(payload)
    else call.reject(new PurserError(codeOfGrpc.get(status.code) ?? 'unknown', status.message))
  }

  #lose(cause?: unknown): void {
    if (this.#lost) return
    this.#lost = new PurserError('unavailable', `the connection to ${this.#socketPath} is lost`, { cause })
    for (const call of [...this.#pending.values()]) call.reject(this.#lost)
    this.#closed.resolve()
  }
}
