import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import { GrpcClient } from '../grpc/grpc-client.ts'
import { PurserError } from '../model/errors.ts'
import { type CallOptions, type TaskClient, tooLate } from './task-client.ts'

/** A connection to a shim that serves gRPC. It is not made anew: a shim that goes does not come back. */
export class GrpcTaskClient implements TaskClient {
  readonly #client: GrpcClient
  readonly #socketPath: string
  readonly closed: Promise<void>
  #isClosed = false

  private constructor(client: GrpcClient, socketPath: string, closed: Promise<void>) {
    this.#client = client
    this.#socketPath = socketPath
    this.closed = closed.then(() => {
      this.#isClosed = true
    })
  }

  /** @throws PurserError unavailable when nothing listens at `socketPath` */
  static async connect(socketPath: string, signal: AbortSignal): Promise<GrpcTaskClient> {
    const client = new GrpcClient(socketPath, {}, '')
    const { closed } = await client.connect(signal)
    return new GrpcTaskClient(client, socketPath, closed)
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  async call<I extends DescMessage, O extends DescMessage>(
    service: string,
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    { signal, timeoutMs }: CallOptions,
  ): Promise<MessageShape<O>> {
    if (this.#isClosed) throw new PurserError('unavailable', `the connection to ${this.#socketPath} is lost`)
    if (timeoutMs === undefined) return await this.#client.unary(method, request, signal, service)
    const deadline = AbortSignal.timeout(timeoutMs)
    try {
      return await this.#client.unary(method, request, AbortSignal.any([signal, deadline]), service)
    } catch (error) {
      if (deadline.aborted && !signal.aborted) throw tooLate(method.name, timeoutMs)
      throw error
    }
  }

  close(): void {
    this.#client.close()
  }
}
