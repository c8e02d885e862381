import type { IncomingMessage } from 'node:http'
import { type ErrorBody, PurserError } from '../model/errors.ts'
import { requestOver } from './unix-socket.ts'

export interface RequestOptions {
  method?: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** Sent as JSON; bytes as they are. */
  body?: unknown
  headers?: Record<string, string>
  signal?: AbortSignal | undefined
}

/** What the client can do with one request. */
export interface Requests {
  readonly socketPath: string
  json<T>(path: string, options: RequestOptions): Promise<T>
  open(path: string, options: RequestOptions): Promise<IncomingMessage>
  /** Asks until there is an answer, while a daemon that was there may come back. */
  persist<T>(ask: () => Promise<T>, from: 'lost' | 'answered' | 'any', signal?: AbortSignal): Promise<T>
}

/** How an exchange failed: no daemon was there, it went away meanwhile, or neither: it answered. */
export function fateOf(error: unknown): 'absent' | 'lost' | 'answered' {
  const cause = error instanceof PurserError && error.code === 'unavailable' ? error.cause : undefined
  if (!(cause instanceof Error)) return 'answered'
  return 'code' in cause && ABSENT.has(String(cause.code)) ? 'absent' : 'lost'
}

const ABSENT = new Set(['ENOENT', 'ECONNREFUSED', 'ENOTDIR', 'ENOTSOCK'])

/**
 * One exchange with the daemon over its Unix socket.
 *
 * @throws PurserError what the daemon answered; unavailable when none is there, or it went away before its answer
 */
export async function exchange(
  socketPath: string,
  path: string,
  options: RequestOptions = {},
): Promise<IncomingMessage> {
  const { method = 'GET', body, headers = {}, signal } = options
  const isBytes = body instanceof Uint8Array
  const payload = body === undefined || isBytes ? body : JSON.stringify(body)
  const contentType = isBytes ? 'application/octet-stream' : 'application/json'
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const outgoing = requestOver(socketPath, {
      path,
      method,
      headers: { ...headers, ...(payload === undefined ? {} : { 'content-type': contentType }) },
      ...(signal === undefined ? {} : { signal }),
    })
    outgoing.on('response', resolve)
    outgoing.on('error', (cause: NodeJS.ErrnoException) => reject(noAnswer(socketPath, cause)))
    outgoing.end(payload)
  })
  if ((response.statusCode ?? 500) < 400) return response
  const problem = problemOf(objectOf(await textOf(response, socketPath)), response.statusCode ?? 500)
  throw PurserError.fromBody(problem)
}

/** The whole body. @throws PurserError unavailable when it breaks off */
export async function textOf(response: IncomingMessage, socketPath: string): Promise<string> {
  const chunks: Buffer[] = []
  try {
    for await (const chunk of response) chunks.push(chunk)
  } catch (cause) {
    throw lostOr(cause, socketPath)
  }
  return Buffer.concat(chunks).toString()
}

/** A streamed body. @throws PurserError unavailable when it breaks off */
export async function* bytesOf(response: IncomingMessage, socketPath: string): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) yield chunk
  } catch (cause) {
    throw lostOr(cause, socketPath)
  }
}

/** Lines of a streamed body, without their line feeds; bytes, for a container may write anything. @throws PurserError unavailable */
export async function* linesOf(response: IncomingMessage, socketPath: string): AsyncGenerator<Buffer> {
  let begun: Buffer[] = []
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      let from = 0
      for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
        const end = chunk.subarray(from, at)
        yield begun.length === 0 ? end : Buffer.concat([...begun, end])
        begun = []
        from = at + 1
      }
      if (from < chunk.length) begun.push(chunk.subarray(from))
    }
  } catch (cause) {
    throw lostOr(cause, socketPath)
  }
  if (begun.length > 0) yield Buffer.concat(begun)
}

/** An abort stays one; all else that can befall a body is that the other side went away. */
function lostOr(cause: unknown, socketPath: string): unknown {
  return cause instanceof Error && cause.name === 'AbortError' ? cause : lost(socketPath, cause)
}

const lost = (socketPath: string, cause: unknown): PurserError =>
  new PurserError('unavailable', `the connection to the daemon at ${socketPath} was lost`, {
    cause,
    remedy: 'see whether it runs: systemctl status purser',
  })

/** @see RFC 9457; whatever is not a problem document is told by its status */
export function problemOf(document: object, status: number): ErrorBody {
  const problem: Partial<ErrorBody> & { detail?: string } = document
  return {
    ...problem,
    code: problem.code ?? 'unknown',
    message: problem.detail ?? `the daemon answered HTTP ${status}`,
  }
}

function objectOf(text: string): object {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}

function noAnswer(socketPath: string, cause: NodeJS.ErrnoException): Error {
  if (cause.name === 'AbortError') return cause
  if (cause.code === 'EACCES') {
    return new PurserError('permission_denied', `you may not use ${socketPath}`, {
      cause,
      remedy: 'use sudo, or join the group purser',
    })
  }
  if (!ABSENT.has(String(cause.code))) return lost(socketPath, cause)
  return new PurserError('unavailable', `no daemon answers at ${socketPath}`, {
    cause,
    remedy: 'start it: sudo purser daemon',
  })
}
