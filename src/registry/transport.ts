import { finished } from 'node:stream'
import { Agent, type Dispatcher, request } from 'undici'
import { errorCodeOf, PurserError } from '../model/errors.ts'
import type { Secret } from '../model/secret.ts'
import { clientSpan, failureOfStatus } from '../tracing/spans.ts'
import { currentTraceparent, noTracing, type Span, type Tracer } from '../tracing/tracer.ts'
import { Retryable } from './retry.ts'

export interface TransportOptions {
  userAgent: string
  /** In place of a plain agent: one that goes through a proxy, say. Its owner closes it. */
  dispatcher?: Dispatcher
  timeouts?: { connectMs?: number; headersMs?: number; bodyStallMs?: number }
  tracer?: Tracer
}

export interface TransportRequest {
  url: URL
  method: 'GET' | 'HEAD' | 'POST'
  headers?: Record<string, string>
  /** The value of `Authorization`; it goes to the origin of `url` and to no other. */
  authorization?: Secret
  body?: Secret
  signal: AbortSignal
}

export interface TransportResponse {
  status: number
  header(name: string): string | undefined
  /** Read it or drop it: until then it holds a connection. */
  body: Dispatcher.ResponseData['body']
  drop(): void
  /** `host:port` of whoever answered, after redirects. */
  host: string
  /** Whether another origin than the one asked for has answered. */
  redirected: boolean
}

const REDIRECTS_MAX = 5
const CONNECTIONS_PER_HOST_MAX = 32
const REDIRECT_STATUSES = new Set([301, 302, 303, 307, 308])

/** HTTP requests with time limits, redirects followed by hand, and errors in our words; one attempt each. */
export class Transport {
  readonly #userAgent: string
  readonly #dispatcher: Dispatcher
  readonly #ownAgent: Agent | undefined
  readonly #headersMs: number
  readonly #bodyStallMs: number
  readonly #tracer: Tracer

  constructor({ userAgent, dispatcher, timeouts = {}, tracer = noTracing }: TransportOptions) {
    const { connectMs = 10_000, headersMs = 30_000, bodyStallMs = 30_000 } = timeouts
    this.#userAgent = userAgent
    this.#headersMs = headersMs
    this.#bodyStallMs = bodyStallMs
    this.#tracer = tracer
    // HTTP/1.1, as layers come faster over a connection each than through one HTTP/2 session in JavaScript.
    this.#ownAgent = dispatcher
      ? undefined
      : new Agent({ connections: CONNECTIONS_PER_HOST_MAX, connect: { timeout: connectMs }, allowH2: false })
    this.#dispatcher = dispatcher ?? (this.#ownAgent as Agent)
  }

  /** @throws Retryable or PurserError; what a server answers, with whichever status, is no error here */
  async send(given: TransportRequest): Promise<TransportResponse> {
    let url = given.url
    let redirected = false
    for (let hops = 0; ; hops++) {
      const response = await this.#sendOnce(given, url, redirected)
      const location = response.header('location')
      if (!REDIRECT_STATUSES.has(response.status) || location === undefined) return response
      response.drop()
      if (hops === REDIRECTS_MAX) throw refusedRedirect(given.url, `it redirects more than ${REDIRECTS_MAX} times`)
      if (given.method === 'POST') throw refusedRedirect(given.url, 'it redirects a request that carries credentials')
      url = redirectTarget(given.url, url, location)
      // Once left, the origin is not trusted again: others have decided where this goes.
      redirected ||= url.origin !== given.url.origin
    }
  }

  async close(): Promise<void> {
    await this.#ownAgent?.destroy()
  }

  async #sendOnce(given: TransportRequest, url: URL, redirected: boolean): Promise<TransportResponse> {
    const { method, signal, authorization, body } = given
    signal.throwIfAborted()
    const span = this.#tracer.start(clientSpan(method, url), currentTraceparent())
    try {
      const response = await request(url, {
        dispatcher: this.#dispatcher,
        method,
        headers: {
          ...given.headers,
          'user-agent': this.#userAgent,
          'accept-encoding': 'identity', // Digests are of the bytes as they are.
          ...(authorization && !redirected ? { authorization: authorization.reveal() } : {}),
          // Who is redirected to is no party to what goes on here.
          ...(span.traceparent !== undefined && !redirected ? { traceparent: span.traceparent } : {}),
        },
        body: body?.reveal() ?? null,
        signal,
        headersTimeout: this.#headersMs,
        bodyTimeout: this.#bodyStallMs,
      })
      endWithBody(span, response)
      return {
        status: response.statusCode,
        header: (name) => {
          const value = response.headers[name]
          return Array.isArray(value) ? value.join(', ') : value
        },
        body: response.body,
        drop: () => void response.body.dump({ limit: 64 * 1024 }).catch(() => {}), // Nothing waits for it.
        host: url.host,
        redirected,
      }
    } catch (error) {
      const failed = signal.aborted ? undefined : networkError(error, url.host)
      span.end({ type: failed === undefined ? 'cancelled' : (errorCodeOf(failed) ?? 'unavailable') })
      signal.throwIfAborted()
      throw failed
    }
  }
}

/** A span lasts until the body has been read, or given up. */
function endWithBody(span: Span, { statusCode, body }: Dispatcher.ResponseData): void {
  span.set({ 'http.response.status_code': statusCode })
  finished(body, { writable: false }, (error) => {
    span.end(failureOfStatus(statusCode, 400) ?? (error ? { type: 'body' } : undefined))
  })
}

function redirectTarget(asked: URL, from: URL, location: string): URL {
  const to = URL.parse(location, from)
  if (!to || !/^https?:$/.test(to.protocol))
    throw refusedRedirect(asked, 'it redirects to something that is no http URL')
  if (to.protocol === 'http:' && from.protocol === 'https:') {
    throw refusedRedirect(asked, `it redirects from https to plain http, at ${to.host}`)
  }
  if (to.username !== '' || to.password !== '') throw refusedRedirect(asked, `it redirects with a password in the URL`)
  return to
}

function refusedRedirect(asked: URL, why: string): PurserError {
  return new PurserError('failed_precondition', `the registry at ${asked.host} is refused: ${why}`, {
    remedy: 'correct the registry, or use another one or a mirror',
  })
}

const PASSING: Record<string, string> = {
  ECONNREFUSED: 'refuses connections',
  ECONNRESET: 'cut the connection',
  EPIPE: 'cut the connection',
  UND_ERR_SOCKET: 'cut the connection',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'sent another number of bytes than it announced',
  ETIMEDOUT: 'does not answer',
  EHOSTUNREACH: 'cannot be reached',
  ENETUNREACH: 'cannot be reached',
  EAI_AGAIN: 'cannot be looked up: the name service does not answer',
  UND_ERR_CONNECT_TIMEOUT: 'does not accept the connection in time',
  UND_ERR_HEADERS_TIMEOUT: 'does not answer in time',
  UND_ERR_BODY_TIMEOUT: 'has stopped sending',
}
const TRY_LATER = 'check that it runs and that this host reaches it, then try again'

/**
 * An error of the network in our words: Retryable when another attempt may help.
 *
 * @param host `host[:port]` of the other side
 */
export function networkError(error: unknown, host: string): Retryable | PurserError {
  if (error instanceof PurserError || error instanceof Retryable) return error
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
  const passing = PASSING[code]
  if (passing !== undefined) {
    return new Retryable(new PurserError('unavailable', `${host} ${passing}`, { remedy: TRY_LATER, cause: error }))
  }
  if (code.startsWith('HPE_')) {
    const message = `${host} does not speak HTTP as it should (${code})`
    return new Retryable(new PurserError('unavailable', message, { remedy: TRY_LATER, cause: error }))
  }
  if (code === 'ENOTFOUND') {
    const remedy = 'check the name, and the name service of this host'
    return new PurserError('unavailable', `${host} cannot be found: there is no such name`, { remedy, cause: error })
  }
  if (/^(?:EPROTO|ERR_SSL_.*)$/.test(code)) {
    return new PurserError('failed_precondition', `${host} does not speak TLS (${code})`, {
      remedy: 'if it serves plain HTTP and the network between can be trusted, configure it as such',
      cause: error,
    })
  }
  if (/CERT|^ERR_TLS_|^UNABLE_TO_|^CRL_|^HOSTNAME_MISMATCH$|^INVALID_CA$/.test(code)) {
    return new PurserError('failed_precondition', `the certificate of ${host} is not trusted (${code})`, {
      remedy: "install the certificate of the registry's authority on this host, or correct the registry's",
      cause: error,
    })
  }
  const message = `the request to ${host} failed${code === '' ? '' : ` (${code})`}`
  return new PurserError('unavailable', message, { remedy: TRY_LATER, cause: error })
}
