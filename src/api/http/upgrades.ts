import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import { z } from 'zod'
import { PurserError } from '../../model/errors.ts'
import { type Context, callOf } from './context.ts'
import { type Problem, problemOfThrown, rawProblem } from './problem.ts'
import { namespaced, patternOf, type SocketRoute } from './route.ts'

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
  readonly #onAnswer: (request: IncomingMessage, status: number, problem?: Problem) => void

  /** @param onAnswer is told what became of each request */
  constructor(
    context: Context,
    routes: readonly SocketRoute[],
    onAnswer: (request: IncomingMessage, status: number, problem?: Problem) => void,
  ) {
    this.#context = context
    this.#onAnswer = onAnswer
    this.#endpoints = routes.map((route) => ({
      route,
      matches: patternOf(route.path),
      query: z.strictObject({ ...route.query.shape, ...namespaced }),
    }))
  }

  paths(): string[] {
    return this.#endpoints.map(({ route }) => route.path)
  }

  /** What asks for another protocol, or for a WebSocket elsewhere, is answered as if it had not. @see RFC 9110 section 7.8 */
  takes({ headers, url }: IncomingMessage): boolean {
    if (headers.upgrade?.toLowerCase() !== 'websocket') return false
    const [path = ''] = (url ?? '').split('?')
    return this.#endpoints.some(({ matches }) => matches.test(path))
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
      const problem = problemOfThrown(error)
      this.#onAnswer(request, problem.status, problem)
      socket.write(rawProblem(problem))
      socket.destroySoon() // The client may never close its side.
      return
    }
    if (socket.destroyed) lifetime.abort(new PurserError('cancelled', 'the client has gone'))
    const connected = await this.#upgrade(request, socket, head)
    this.#onAnswer(request, 101)
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
    const [path = '', query = ''] = (request.url ?? '').split(/\?(.*)/s)
    for (const { route, matches, query: schema } of this.#endpoints) {
      const match = matches.exec(path)
      if (!match) continue
      const call = callOf(this.#context, socket, signal, request.headers, schema, queryOf(new URLSearchParams(query)))
      const params = Object.fromEntries(
        Object.entries(match.groups ?? {}).map(([name, value]) => [name, decoded(value)]),
      )
      const noStream = () => {
        throw new PurserError('internal', 'a WebSocket has no other answer')
      }
      return route.open({ ...call, params, body: undefined, upload: undefined, stream: noStream } as Parameters<
        SocketRoute['open']
      >[0])
    }
    throw new PurserError('not_found', `${path.slice(0, 200)} is no WebSocket endpoint`)
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

/** @throws PurserError invalid_argument */
function decoded(value: string): string {
  try {
    return decodeURIComponent(value)
  } catch (cause) {
    throw new PurserError('invalid_argument', 'the path is not well-formed', { cause, remedy: 'percent-encode it' })
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
