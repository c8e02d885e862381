import { z } from 'zod'
import { PurserError } from '../model/errors.ts'
import { Retryable } from './retry.ts'
import { networkError, type TransportResponse } from './transport.ts'

const ERROR_BODY_BYTES_MAX = 16 * 1024
const errorBody = z.object({ errors: z.array(z.object({ code: z.string().regex(/^[A-Za-z0-9_]{1,64}$/) })).min(1) })

/**
 * A whole body in memory.
 *
 * @throws PurserError resource_exhausted when it is longer than `maxBytes`; Retryable when it breaks off
 */
export async function readBody(response: TransportResponse, maxBytes: number, signal: AbortSignal): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of bodyChunks(response, signal)) {
    length += chunk.length
    if (length > maxBytes) throw tooLarge(response.host, maxBytes)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, length)
}

/** The body as it arrives; leaving the loop closes it. @throws Retryable or PurserError */
export async function* bodyChunks(response: TransportResponse, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of response.body) yield chunk
  } catch (error) {
    signal.throwIfAborted()
    throw networkError(error, response.host)
  }
}

export function tooLarge(host: string, maxBytes: number): PurserError {
  return new PurserError('resource_exhausted', `${host} sends a document of more than the ${maxBytes} bytes allowed`, {
    remedy: 'use an image with a smaller manifest and configuration',
  })
}

/**
 * The code in a registry's error, such as `TOOMANYREQUESTS`; its message is left alone, as it may repeat what it was sent.
 *
 * @see distribution-spec, "Error Codes"
 */
export async function errorCodeIn(response: TransportResponse, signal: AbortSignal): Promise<string | undefined> {
  try {
    const bytes = await readBody(response, ERROR_BODY_BYTES_MAX, signal)
    return errorBody.parse(JSON.parse(bytes.toString('utf8'))).errors[0]?.code
  } catch {
    signal.throwIfAborted()
    return undefined // It is there to explain the status, and without it the status still holds.
  }
}

/** What is thrown to those who know nothing of retries. */
export const finalError = (error: unknown): unknown => (error instanceof Retryable ? error.final : error)
