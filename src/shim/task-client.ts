import {
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf'
import { PurserError } from '../model/errors.ts'

export interface CallOptions {
  signal: AbortSignal
  /** Sent to the server too, where the protocol has a place for it. None when absent. */
  timeoutMs?: number
}

/** A connection to the server in a shim, by whichever protocol: any number of unary calls at once. */
export interface TaskClient {
  readonly isClosed: boolean
  /** Fulfilled when the connection is gone, whoever ended it. Never rejected. */
  readonly closed: Promise<void>
  /**
   * One call and its answer.
   *
   * @param service full name of the service, as the server knows it
   * @throws PurserError with the code and message of the server, `unavailable` when the connection is lost,
   * `deadline_exceeded` after `timeoutMs`; the signal's reason when it aborts (the server may go on)
   */
  call<I extends DescMessage, O extends DescMessage>(
    service: string,
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options: CallOptions,
  ): Promise<MessageShape<O>>
  close(): void
}

export const tooLate = (method: string, timeoutMs: number): PurserError =>
  new PurserError('deadline_exceeded', `the shim did not answer ${method} within ${timeoutMs} ms`)

/** @throws PurserError internal when it is no such message */
export function readAnswer<O extends DescMessage>(method: DescMethodUnary<DescMessage, O>, payload: Uint8Array) {
  try {
    return fromBinary(method.output, payload)
  } catch (cause) {
    throw new PurserError('internal', `the answer to ${method.name} cannot be read`, {
      cause,
      remedy: 'see whether the shim speaks the version of the task API that it says',
    })
  }
}
