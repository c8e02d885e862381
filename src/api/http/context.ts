import type { IncomingHttpHeaders } from 'node:http'
import type { Socket } from 'node:net'
import type { Logger } from 'pino'
import type { z } from 'zod'
import { identifier } from '../../model/ids.ts'
import { parse } from '../../model/parse.ts'
import type { Services } from '../services.ts'
import type { Call } from './route.ts'
import type { SortedIds } from './sorted-ids.ts'

/** What serves one request, whether it came as HTTP or asks for a WebSocket. */
export interface Context {
  readonly services: Services
  readonly ids: SortedIds
  readonly logger: Logger
  /** How long a client may let a stream of events wait. */
  readonly stalledMs: number
  actorOf(socket: Socket): string
  /** Aborts with its owner, or when the server stops; to be disposed when the request is over. */
  lifetime(): Lifetime
}

export interface Lifetime extends Disposable {
  readonly signal: AbortSignal
  abort(reason: unknown): void
}

/** The part of a call that HTTP and WebSockets have in common. @throws PurserError invalid_argument */
export function callOf(
  { services, ids, actorOf }: Context,
  socket: Socket,
  signal: AbortSignal,
  headers: IncomingHttpHeaders,
  schema: z.ZodObject,
  rawQuery: unknown,
  traceparent?: string,
): Omit<Call, 'params' | 'body' | 'upload' | 'stream'> {
  const { namespace: inQuery, ...query } = parse(schema, rawQuery, '') as { namespace?: string }
  const inHeader = headerOf(headers, 'purser-namespace')
  const namespaceAsked =
    inQuery ?? (inHeader === undefined ? undefined : parse(identifier, inHeader, 'Purser-Namespace'))
  return {
    services,
    ids,
    query,
    namespace: namespaceAsked ?? 'default',
    namespaceAsked,
    actor: actorOf(socket),
    signal,
    traceparent,
    header: (name) => headerOf(headers, name),
  }
}

function headerOf(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name]
  return Array.isArray(value) ? value.join(', ') : value
}
