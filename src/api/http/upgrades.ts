import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import { z } from 'zod'
import { PurserError } from '../../model/errors.ts'
import { type Context, callOf } from './context.ts'
import { problemOfThrown, rawProblem, unknownRoute } from './problem.ts'
import { namespaced, type SocketRoute } from './route.ts'

const MESSAGE_BYTES_MAX = 1024 * 1024
const PROTOCOL = 'v5.channel.k8s.io'
const GOING_AWAY = 1001
const INTERNAL = 1011

interface Endpoint {
  route: SocketRoute
  matches: RegExp
  query: z.ZodObject
}

/** Turns requests for a WebSocket into sessions; what is refused is answered as a problem. */
export class Upgrades {
  readonly #context: Context
  readonly #endpoints: readonly Endpoint[]
  readonly #server = new WebSocketServer({
    noServer: true,
    maxPayload: MESSAGE_BYTES_MAX,
    perMessageDeflate: false,
    handleProtocols: (protocols) => (protocols.has(PROTOCOL) ? PROTOCOL : false),
  })
  readonly #sessions = new Set<Promise<void>>()

  constructor(context: Context, routes: readonly SocketRoute[]) {
    this.#context = context
    this.#endpoints = routes.map((route) => ({
      route,
      matches: new RegExp(`^${route.path.replaceAll(/\{(\w+)\}/g, '(?<$1>[^/]+)')}$`),
      query: z.strictObject({ ...route.query.shape, ...namespaced }),
    }))
  }

  paths(): string[] {
    return this.#endpoints.map(({ route }) => route.path)
  }

  /** Call when the signals of all sessions have been aborted. */
  async close(): Promise<void> {
    await Promise.all(this.#sessions)
  }

  handle(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const session = this.#serve(request, socket, head).catch((err) => {
      this.#context.logger.error({ err }, 'session failed unexpectedly')
      socket.destroy()
    })
    this.#sessions.add(session)
    session.finally(() => this.#sessions.delete(session))
  }

  async #serve(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    using lifetime = this.#context.lifetime()
    const onClose = () => lifetime.abort(new PurserError('cancelled', 'the client has gone'))
    const onError = () => socket.destroy()
    socket.once('close', onClose)
    socket.on('error', onError)
    let session: Awaited<ReturnType<SocketRoute['open']>>
    try {
      session = await this.#open(request, socket, lifetime.signal)
    } catch (error) {
      socket.end(
        rawProblem(error instanceof Unserved ? unknownRoute(error.method, error.path) : problemOfThrown(error)),
      )
      return
    }
    if (socket.destroyed) lifetime.abort(new PurserError('cancelled', 'the client has gone'))
    const connected = await this.#upgrade(request, socket, head)
    try {
      await session(connected)
    } catch (err) {
      if (lifetime.signal.aborted) connected.close(GOING_AWAY)
      else {
        this.#context.logger.warn({ err }, 'session broke off')
        connected.close(INTERNAL)
      }
      connected.terminate()
    }
  }

  #open(request: IncomingMessage, socket: Socket, signal: AbortSignal): ReturnType<SocketRoute['open']> {
    const url = new URL(request.url ?? '/', 'http://purser')
    for (const { route, matches, query } of this.#endpoints) {
      const match = matches.exec(url.pathname)
      if (!match) continue
      const call = callOf(this.#context, socket, signal, request.headers, query, queryOf(url.searchParams))
      const params = Object.fromEntries(
        Object.entries(match.groups ?? {}).map(([name, value]) => [name, decodeURIComponent(value)]),
      )
      const noStream = () => {
        throw new PurserError('internal', 'a WebSocket has no other answer')
      }
      return route.open({ ...call, params, body: undefined, stream: noStream } as Parameters<SocketRoute['open']>[0])
    }
    throw new Unserved(request.method ?? 'GET', url.pathname)
  }

  #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): Promise<WebSocket> {
    return new Promise((resolve, reject) => {
      socket.once('close', () => reject(new PurserError('cancelled', 'the client has gone')))
      this.#server.handleUpgrade(request, socket, head, (connected: WebSocket) => {
        connected.on('error', () => connected.terminate()) // A protocol error: the session ends with the socket.
        resolve(connected)
      })
    })
  }
}

/** A request for a WebSocket where there is none. */
class Unserved extends Error {
  readonly method: string
  readonly path: string

  constructor(method: string, path: string) {
    super(`${method} ${path}`)
    this.method = method
    this.path = path
  }
}

/** As fastify has it: a list where a parameter is repeated. */
function queryOf(parameters: URLSearchParams): Record<string, string | string[]> {
  const query: Record<string, string | string[]> = {}
  for (const name of new Set(parameters.keys())) {
    const values = parameters.getAll(name)
    query[name] = values.length === 1 ? (values[0] ?? '') : values
  }
  return query
}
