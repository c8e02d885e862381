import type { FastifyInstance, FastifyRequest } from 'fastify'
import { parseTraceparent } from '../../model/traceparent.ts'
import { failureOfStatus, serverSpan } from '../../tracing/spans.ts'
import type { Span, Tracer } from '../../tracing/tracer.ts'

/** What monitoring asks all the time. */
const UNTRACED = new Set(['GET /healthz', 'GET /metrics', 'GET /readyz'])

const spans = new WeakMap<FastifyRequest, Span>()

/** A span for each request, from its arrival to the end of its answer. */
export function traceRequests(app: FastifyInstance, tracer: Tracer): void {
  app.addHook('onRequest', (request, _reply, done) => {
    const { method, url, headers, routeOptions } = request
    const { route } = routeOptions.config
    if (route !== undefined && UNTRACED.has(route)) return done()
    const { traceparent } = headers
    // A malformed one is left out. @see W3C Trace Context, section 3.2.2.5
    const parent = typeof traceparent === 'string' && parseTraceparent(traceparent) ? traceparent : undefined
    spans.set(
      request,
      tracer.start(serverSpan(method, route?.slice(method.length + 1), url.split('?')[0] ?? url), parent),
    )
    done()
  })
  app.addHook('onResponse', (request, { statusCode }, done) => {
    const span = spans.get(request)
    span?.set({ 'http.response.status_code': statusCode })
    span?.end(failureOfStatus(statusCode, 500))
    done()
  })
}

/** For what a request leads to. */
export const traceparentOf = (request: FastifyRequest): string | undefined => spans.get(request)?.traceparent
