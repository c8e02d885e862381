import { readlinkSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import fastify, { errorCodes, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { Logger } from 'pino'
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import { z } from 'zod'
import type { Peer } from '../../host/peer.ts'
import { PurserError } from '../../model/errors.ts'
import { parse } from '../../model/parse.ts'
import { API_SECONDS } from '../../projections/sli/families.ts'
import { API_HISTOGRAM } from '../../projections/sli/observations.ts'
import { noTracing, type Tracer } from '../../tracing/tracer.ts'
import type { Services } from '../services.ts'
import { ByteStream } from './byte-stream.ts'
import { type Context, callOf, type Lifetime } from './context.ts'
import { described } from './index.ts'
import { parsePrefer } from './prefer.ts'
import { type Problem, problemAnswer, problemOfThrown, rawProblem, unknownRoute, wrongMethod } from './problem.ts'
import { type RecordedRequests, RequestTrail } from './request-trail.ts'
import { type Answer, type Call, namespaced, patternOf, type Route } from './route.ts'
import { listenOn } from './socket-file.ts'
import { SortedIds } from './sorted-ids.ts'
import { traceparentOf, traceRequests } from './traced-requests.ts'
import { Upgrades } from './upgrades.ts'

export interface HttpOptions {
  services: Services
  socketPath: string
  /** Group that owns the socket, where the host has it. */
  group: string
  /** Where the latencies of requests are counted. */
  register: Registry
  /** Which requests that become no command are put into the log. */
  record: RecordedRequests
  /** Who is at the other end of a connection. */
  peerOf: (socket: Socket) => Peer | undefined
  tracer?: Tracer
  logger: Logger
  /** How long a client may let a stream of events wait before it is cut off. */
  stalledMs?: number
}

export interface HttpServer extends AsyncDisposable {
  readonly socketPath: string
}

const STALLED_MS = 30_000
const BODY_BYTES_MAX = 1024 * 1024
/** For a request to arrive; answering may take as long as it takes. */
/** Bodies that are handed on as they come; routes that take none refuse them. */
const UPLOADED = ['application/octet-stream', 'application/x-tar']
const REQUEST_MS = 30_000
const KEEP_ALIVE_MS = 60_000
/** An image name of 1024 characters, percent-encoded. */
const PARAM_CHARACTERS_MAX = 3072
/** Answers that are under way when the server stops have this long. */
const STOPPING_MS = 1000

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Method and path as the OpenAPI document has them. */
    route?: string
    streams?: 'always'
    takesUpload?: boolean
  }
}

/** Serves the API on a Unix socket until disposed. */
export async function startHttp(options: HttpOptions): Promise<HttpServer> {
  const { services, socketPath, logger } = options
  await using starting = new AsyncDisposableStack()
  const ids = starting.use(new SortedIds(services.log))
  const open = new Set<AbortController>()
  const actors = new WeakMap<Socket, string>()
  const actorOf = (socket: Socket): string => {
    const known = actors.get(socket)
    if (known !== undefined) return known
    const peer = options.peerOf(socket)
    const actor = peer ? unixActor(peer) : 'unix:unknown'
    actors.set(socket, actor)
    return actor
  }
  const lifetime = (): Lifetime => {
    const controller = new AbortController()
    open.add(controller)
    return {
      signal: controller.signal,
      abort: (reason) => controller.abort(reason),
      [Symbol.dispose]: () => open.delete(controller),
    }
  }
  const { stalledMs = STALLED_MS } = options
  const context: Context = { services, ids, logger, stalledMs, actorOf, lifetime }

  const trail = new RequestTrail(services.log, options.record, logger)
  const noted = ({ socket, method = '', url = '' }: IncomingMessage, status: number, problem?: Problem) =>
    trail.note({ actor: actorOf(socket), method, target: pathOf(url), status, problem })
  const upgrades = new Upgrades(
    context,
    described.flatMap(({ sockets }) => sockets ?? []),
    noted,
  )
  const app = createApp(logger, (request) => upgrades.takes(request))
  observeLatency(app, options.register)
  traceRequests(app, options.tracer ?? noTracing)
  app.addHook('onResponse', async (request, reply) => {
    noted(request.raw, reply.statusCode, problems.get(request))
  })
  starting.defer(() => trail.stop())
  const streams = streamMetrics(options.register)
  for (const { routes } of described) for (const route of routes) addRoute(app, context, streams, route)
  for (const path of upgrades.paths()) app.get(colonPath(path), { config: { route: `GET ${path}` } }, needsUpgrade)
  await app.ready()

  app.server.on('connection', actorOf) // While the connection is open for certain.
  app.server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) =>
    upgrades.handle(request, socket, head),
  )
  starting.defer(async () => {
    const stopped = new PurserError('unavailable', 'the daemon stops', { remedy: 'try again when it is back' })
    for (const controller of open) controller.abort(stopped)
    const force = setTimeout(() => app.server.closeAllConnections(), STOPPING_MS)
    app.server.closeIdleConnections()
    await Promise.all([upgrades.close(), app.close()])
    clearTimeout(force)
  })
  await listenOn(app.server, socketPath, options.group)
  logger.info({ socketPath }, 'serving HTTP')
  const running = starting.move()
  return { socketPath, [Symbol.asyncDispose]: () => running.disposeAsync() }
}

/** With the program, where it can be told: the process may have ended. */
function unixActor({ uid, gid, pid }: Peer): string {
  const actor = `unix:uid=${uid},gid=${gid},pid=${pid}`
  try {
    return `${actor},exe=${readlinkSync(`/proc/${pid}/exe`)}`
  } catch {
    return actor
  }
}

function createApp(logger: Logger, shouldUpgradeCallback: (request: IncomingMessage) => boolean): FastifyInstance {
  const app = fastify({
    http: { shouldUpgradeCallback },
    bodyLimit: BODY_BYTES_MAX,
    requestTimeout: REQUEST_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: PARAM_CHARACTERS_MAX },
    frameworkErrors: (error, _request, reply) => sendProblem(reply, problemOfThrown(error)),
    clientErrorHandler: (error, socket) => {
      if (socket.writable) socket.end(rawProblem(problemOfThrown(error)))
      else socket.destroy()
    },
  })
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.removeContentTypeParser('text/plain')
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body: string, done) => {
    parseJson(request, body, (error, value) => (error ? done(withReason(error, body)) : done(null, value)))
  })
  app.addContentTypeParser(UPLOADED, (request, payload, done) => {
    if (request.routeOptions.config.takesUpload) done(null, payload)
    else done(new errorCodes.FST_ERR_CTP_INVALID_MEDIA_TYPE(request.headers['content-type']))
  })
  app.setNotFoundHandler(({ method, url }, reply) => {
    const path = pathOf(url)
    const allowed = methodsOf(path)
    return send(
      reply,
      allowed.length === 0 ? problemAnswer(unknownRoute(method, path)) : wrongMethod(method, path, allowed),
    )
  })
  app.setErrorHandler((error, request, reply) => {
    const problem = problemOfThrown(error)
    if (problem.code === 'internal')
      logger.error({ err: error, url: pathOf(request.url) }, 'request failed unexpectedly')
    return sendProblem(reply, problem)
  })
  return app
}

/** An error of the parser, with where it stumbled, and without what it stumbled on: that may be a secret. */
function withReason(error: Error, body: string): Error {
  try {
    JSON.parse(body)
    error.cause = new SyntaxError('a key may not be __proto__, nor prototype below constructor')
  } catch (cause) {
    const message = cause instanceof Error ? cause.message.replace(/, (?:\.\.\.)?".*$/s, '') : ''
    error.cause = new SyntaxError(message)
  }
  return error
}

function addRoute(app: FastifyInstance, context: Context, streams: StreamMetrics, route: Route): void {
  const query = z.strictObject({ ...route.query.shape, ...namespaced })
  if (route.streams === 'always') streams.show(route.path)
  app.route({
    method: route.method,
    url: colonPath(route.path),
    config: {
      route: `${route.method} ${route.path}`,
      takesUpload: route.upload !== undefined,
      ...(route.streams === undefined ? {} : { streams: route.streams }),
    },
    handler: async (request, reply) => {
      using lifetime = context.lifetime()
      reply.raw.once('close', () => lifetime.abort(new PurserError('cancelled', 'the client has gone')))
      const call: Call = {
        ...callOf(
          context,
          request.raw.socket,
          lifetime.signal,
          request.headers,
          query,
          request.query,
          traceparentOf(request),
        ),
        params: request.params,
        body: route.body === undefined ? undefined : parse(route.body, request.body, ''),
        // What a handler leaves unread is dropped after the answer; destroying it would take the answer along.
        upload: request.body instanceof Readable ? request.body.iterator({ destroyOnReturn: false }) : undefined,
        stream: (contentType) => {
          reply.hijack()
          reply.raw.writeHead(200, { 'content-type': contentType, 'cache-control': 'no-store' })
          reply.raw.flushHeaders()
          streams.open.inc({ route: route.path })
          reply.raw.once('close', () => streams.open.dec({ route: route.path }))
          return new ByteStream(reply.raw, {
            signal: lifetime.signal,
            stalledMs: context.stalledMs,
            onStalled: () => streams.cutOff.inc({ route: route.path }),
          })
        },
      }
      try {
        const answer = await route.handle(call as Parameters<Route['handle']>[0])
        if (answer !== 'streamed') return send(reply, answer)
      } catch (error) {
        if (!reply.sent) throw error
        // The status is sent: a connection that breaks off is all that can be said.
        if (!lifetime.signal.aborted) context.logger.warn({ err: error, route: route.path }, 'stream broke off')
        reply.raw.destroy()
      } finally {
        if (route.upload !== undefined) request.raw.resume() // Node drops only what nobody has begun to read.
      }
      return reply
    },
  })
}

function observeLatency(app: FastifyInstance, register: Registry): void {
  const latency = new Histogram({
    name: API_HISTOGRAM,
    help: 'Time from the arrival of a request to the end of its answer; streams are not among them. waits: it asked to wait.',
    labelNames: ['surface', 'route', 'status', 'waits'],
    buckets: API_SECONDS,
    registers: [register],
  })
  app.addHook('onResponse', async (request: FastifyRequest, reply) => {
    const { route, streams } = request.routeOptions.config
    if (streams === 'always') return
    const prefer = request.headers.prefer
    const waits = waitsForAnEnd(route ?? '') || parsePrefer(String(prefer ?? '')).waitSeconds !== undefined
    const labels = {
      surface: 'http',
      route: route ?? 'unknown',
      status: String(reply.statusCode),
      waits: String(waits),
    }
    latency.observe(labels, reply.elapsedTime / 1000)
  })
}

/** How long it takes says nothing about the API. */
const waitsForAnEnd = (route: string): boolean => route.endsWith('/wait')

type StreamMetrics = ReturnType<typeof streamMetrics>

function streamMetrics(register: Registry) {
  const labelNames = ['route']
  const open = new Gauge({
    name: 'purser_api_streams_open',
    help: 'Answers that are written piece by piece, to clients that are connected.',
    labelNames,
    registers: [register],
  })
  const cutOff = new Counter({
    name: 'purser_api_streams_cut_off_total',
    help: 'Streams of events that were ended because the client did not read them.',
    labelNames,
    registers: [register],
  })
  return {
    open,
    cutOff,
    /** Before the first one, so that it is seen as an increase. */
    show(route: string): void {
      open.inc({ route }, 0)
      cutOff.inc({ route }, 0)
    },
  }
}

async function needsUpgrade(_request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const problem: Problem = problemOfThrown(
    new PurserError('invalid_argument', 'this is a WebSocket endpoint', { remedy: 'ask for an upgrade to websocket' }),
  )
  return sendProblem(reply.header('upgrade', 'websocket'), { ...problem, status: 426 })
}

/** What was answered with a problem, for those who look at answers. */
const problems = new WeakMap<FastifyRequest, Problem>()

function sendProblem(reply: FastifyReply, problem: Problem): FastifyReply {
  problems.set(reply.request, problem)
  return send(reply, problemAnswer(problem))
}

const send = (reply: FastifyReply, { status, body, headers }: Answer): FastifyReply =>
  reply
    .code(status)
    .headers(headers ?? {})
    .send(body)

/** The methods that a path is served with. */
function methodsOf(path: string): string[] {
  const methods = described.flatMap(({ routes, sockets = [] }) => [
    ...routes.filter((route) => patternOf(route.path).test(path)).map(({ method }) => method),
    ...sockets.filter((route) => patternOf(route.path).test(path)).map(() => 'GET' as const),
  ])
  return [...new Set(methods)].sort()
}

/** `/v1/containers/:id`, as the router wants it. */
const colonPath = (path: string): string => path.replaceAll(/\{(\w+)\}/g, ':$1')

const pathOf = (url: string): string => url.split('?')[0] ?? url
