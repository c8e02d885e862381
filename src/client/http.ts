import type { IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import { type ErrorBody, PurserError } from '../model/errors.ts'

// The static import would load every part of the module: that is a third of the start of a command.
const { request } = process.getBuiltinModule('node:http')

export interface RequestOptions {
  method?: 'GET' | 'POST' | 'DELETE'
  body?: unknown
  headers?: Record<string, string>
  signal?: AbortSignal
}

/** One exchange with the daemon over its Unix socket. @throws PurserError what the daemon answered, or that it did not */
export async function exchange(
  socketPath: string,
  path: string,
  options: RequestOptions = {},
): Promise<IncomingMessage> {
  const { method = 'GET', body, headers = {}, signal } = options
  const payload = body === undefined ? undefined : JSON.stringify(body)
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const outgoing = request({
      socketPath,
      path,
      method,
      headers: { ...headers, ...(payload === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(signal === undefined ? {} : { signal }),
    })
    outgoing.on('response', resolve)
    outgoing.on('error', (cause: NodeJS.ErrnoException) => reject(notThere(socketPath, cause)))
    outgoing.end(payload)
  })
  if ((response.statusCode ?? 500) < 400) return response
  const problem: Partial<ErrorBody> & { detail?: string } = JSON.parse((await text(response)) || '{}')
  throw PurserError.fromBody({
    ...problem,
    code: problem.code ?? 'unknown',
    message: problem.detail ?? `HTTP ${response.statusCode}`,
  })
}

function notThere(socketPath: string, cause: NodeJS.ErrnoException): Error {
  if (cause.name === 'AbortError') return cause
  if (cause.code === 'EACCES') {
    return new PurserError('permission_denied', `you may not use ${socketPath}`, {
      cause,
      remedy: 'use sudo, or join the group purser',
    })
  }
  return new PurserError('unavailable', `no daemon answers at ${socketPath}`, {
    cause,
    remedy: 'start it: sudo purser daemon',
  })
}
