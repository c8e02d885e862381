import { chmod, mkdir, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { dirname } from 'node:path'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { ERROR_CODES, PurserError, toPurserError } from '../model/errors.ts'
import { type Request, RequestSchema, ResponseSchema, StatusSchema } from './gen/ttrpc_pb.ts'
import { encodeFrame, FRAME_REQUEST, FRAME_RESPONSE, type Frame, FrameDecoder } from './ttrpc-frames.ts'

/** Answers one unary call: the request's bytes in, the response's bytes out. What it throws becomes the status. */
export type TtrpcMethod = (payload: Uint8Array, metadata: ReadonlyMap<string, string>) => Promise<Uint8Array>

/** Requests that one connection may have under way; more wait in its socket. */
const CALLS_PER_CONNECTION_MAX = 64

/** The kernel's sun_path, less its closing zero byte. @see unix(7) */
const SOCKET_PATH_BYTES_MAX = 107

/** A ttrpc server on a Unix socket that only its owner may open. */
export class TtrpcServer {
  readonly #server: Server
  readonly #connections = new Set<Socket>()
  readonly #methods: ReadonlyMap<string, TtrpcMethod>
  readonly #socketPath: string

  private constructor(socketPath: string, methods: ReadonlyMap<string, TtrpcMethod>) {
    this.#socketPath = socketPath
    this.#methods = methods
    this.#server = createServer((socket) => this.#accept(socket))
  }

  /**
   * @param socketPath a socket that is left there from before is replaced
   * @param methods by `service/Method`
   */
  static async listen(socketPath: string, methods: ReadonlyMap<string, TtrpcMethod>): Promise<TtrpcServer> {
    if (Buffer.byteLength(socketPath) > SOCKET_PATH_BYTES_MAX) {
      throw new PurserError('invalid_argument', `${socketPath} is too long for a socket`, {
        remedy: `choose a state directory that leaves it ${SOCKET_PATH_BYTES_MAX} bytes at most`,
      })
    }
    const server = new TtrpcServer(socketPath, methods)
    await mkdir(dirname(socketPath), { recursive: true, mode: 0o700 })
    await rm(socketPath, { force: true })
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    server.#server.once('error', reject)
    server.#server.listen(socketPath, resolve)
    await promise
    await chmod(socketPath, 0o600)
    return server
  }

  async close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#server.close(() => resolve())
    for (const socket of this.#connections) socket.destroy()
    await promise
    await rm(this.#socketPath, { force: true })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #accept(socket: Socket): void {
    const decoder = new FrameDecoder()
    let underWay = 0
    this.#connections.add(socket)
    socket.on('close', () => this.#connections.delete(socket))
    socket.on('error', () => socket.destroy())
    socket.on('data', (chunk: Buffer) => {
      let frames: Frame[]
      try {
        frames = decoder.push(chunk)
      } catch {
        socket.destroy()
        return
      }
      for (const frame of frames) {
        if (frame.type !== FRAME_REQUEST) continue
        underWay += 1
        if (underWay >= CALLS_PER_CONNECTION_MAX) socket.pause()
        void this.#answer(frame).then((answer) => {
          underWay -= 1
          if (socket.isPaused()) socket.resume()
          if (socket.writable) socket.write(answer)
        })
      }
    })
  }

  async #answer({ streamId, payload }: Frame): Promise<Buffer> {
    const response = create(ResponseSchema)
    try {
      response.payload = Buffer.from(await this.#run(fromBinary(RequestSchema, payload)))
    } catch (thrown) {
      const { code, message } = toPurserError(thrown)
      response.status = create(StatusSchema, { code: ERROR_CODES[code].grpc, message })
    }
    return encodeFrame({ streamId, type: FRAME_RESPONSE, payload: toBinary(ResponseSchema, response) })
  }

  async #run(request: Request): Promise<Uint8Array> {
    const name = `${request.service}/${request.method}`
    const method = this.#methods.get(name)
    if (!method) throw new PurserError('unimplemented', `${name} is not served here`)
    return await method(request.payload, new Map(request.metadata.map(({ key, value }) => [key, value])))
  }
}
