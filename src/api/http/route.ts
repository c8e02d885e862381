import type { WebSocket } from 'ws'
import { z } from 'zod'
import { identifier } from '../../model/ids.ts'
import type { Services } from '../services.ts'
import type { ByteStream } from './byte-stream.ts'
import type { SortedIds } from './sorted-ids.ts'

/** Names in braces: `/v1/containers/{id}` has `id`. */
type ParamsOf<Path extends string> = Path extends `${string}{${infer Name}}${infer Rest}`
  ? Record<Name, string> & ParamsOf<Rest>
  : unknown

/** One request, checked, with what its handler may use. */
export interface Call<Params = unknown, Query = unknown, Body = unknown> {
  readonly services: Services
  readonly ids: SortedIds
  readonly params: Params
  readonly query: Query
  readonly body: Body
  /** The body of a route that takes uploads. */
  readonly upload: AsyncIterable<Uint8Array> | undefined
  /** The one that the request names, else `default`. */
  readonly namespace: string
  /** The one that the request names, if it does. */
  readonly namespaceAsked: string | undefined
  readonly actor: string
  /** W3C trace context of the request, for what it leads to. */
  readonly traceparent: string | undefined
  /** Aborts when the client has gone or the server stops. */
  readonly signal: AbortSignal
  header(name: string): string | undefined
  /** Begins an answer that is written piece by piece; afterwards the handler returns 'streamed'. */
  stream(contentType: string): ByteStream
}

export interface Answer {
  status: number
  /** Sent as JSON; a string or bytes as they are. */
  body: unknown
  headers?: Record<string, string>
}

/** What an answer of one status is, for the OpenAPI document. */
export interface AnswerShape {
  description: string
  /** JSON of this shape; another media type has none. */
  schema?: z.ZodType
  mediaTypes?: readonly string[]
}

interface Described<Path extends string, Query extends z.ZodObject> {
  /** As in OpenAPI. */
  path: Path
  summary: string
  /** Whether what it answers depends on the namespace. */
  scope: 'namespace' | 'node'
  query: Query
}

export interface Route<
  Path extends string = string,
  Query extends z.ZodObject = z.ZodObject,
  Body extends z.ZodType = z.ZodType,
> extends Described<Path, Query> {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  body?: Body
  /** Media type of a body that the handler reads as it comes, besides application/octet-stream. */
  upload?: 'application/x-tar'
  /** Request headers with their meaning. */
  headers?: Readonly<Record<string, string>>
  answers: Readonly<Record<number, AnswerShape>>
  /** Streams last as long as their client wants, so their time says nothing. */
  streams?: 'always'
  handle(call: Call<ParamsOf<Path>, z.output<Query>, z.output<Body>>): Promise<Answer | 'streamed'>
}

/** A WebSocket endpoint: `open` may refuse, which is answered as a problem; what it returns serves the connection. */
export interface SocketRoute<Path extends string = string, Query extends z.ZodObject = z.ZodObject>
  extends Described<Path, Query> {
  open(call: Call<ParamsOf<Path>, z.output<Query>>): Promise<(socket: WebSocket) => Promise<void>>
}

export interface Resource {
  name: string
  routes: readonly Route[]
  sockets?: readonly SocketRoute[]
}

export const defineRoute = <
  const Path extends string,
  Query extends z.ZodObject = z.ZodObject<Record<never, z.ZodType>>,
  Body extends z.ZodType = z.ZodUnknown,
>(
  route: Route<Path, Query, Body>,
): Route<Path, Query, Body> => route

export const defineSocket = <const Path extends string, Query extends z.ZodObject>(
  route: SocketRoute<Path, Query>,
): SocketRoute<Path, Query> => route

/** Matches what a path stands for, with its parameters as named groups, still percent-encoded. */
export const patternOf = (path: string): RegExp => new RegExp(`^${path.replaceAll(/\{(\w+)\}/g, '(?<$1>[^/]+)')}$`)

export const noQuery = z.strictObject({})

/** The query of every route also takes the namespace. */
export const namespaced = { namespace: identifier.optional() }

/** A parameter that may be given several times. */
export const many = <T extends z.ZodType>(of: T) =>
  z.preprocess((value) => (value === undefined || Array.isArray(value) ? (value ?? []) : [value]), z.array(of).max(64))

/** `true`, `false`, or the bare name for true. */
export const flag = z
  .enum(['true', 'false', ''])
  .default('false')
  .transform((text) => text !== 'false')
