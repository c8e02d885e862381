import { finished, type Readable } from 'node:stream'
import { type Dispatcher, request } from 'undici'
import { errorCodeOf, PurserError } from '../model/errors.ts'
import { Secret } from '../model/secret.ts'
import { clientSpan, failureOfStatus } from '../tracing/spans.ts'
import { currentTraceparent, noTracing, type Span, type Tracer } from '../tracing/tracer.ts'
import { type Connection, Dispatchers, PLAIN_CONNECTION, type ProxyEnvironment } from './dispatchers.ts'
import { isLoopback } from './endpoint.ts'
import { Retryable } from './retry.ts'

export interface TransportOptions {
  userAgent: string
  timeouts?: { connectMs?: number; headersMs?: number; bodyStallMs?: number }
  tracer?: Tracer
  proxies?: ProxyEnvironment | undefined
}

export interface TransportRequest {
  url: URL
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  headers?: Readonly<Record<string, string>>
  /** The value of `Authorization`; it goes to the origin of `url` and to no other. */
  authorization?: Secret | undefined
  /** Other headers that go there only. */
  secretHeaders?: Readonly<Record<string, Secret>>
  body?: Secret | Uint8Array | Readable | undefined
  /** How the origin is connected to. */
  connection?: Connection
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
  /** What has answered, after redirects. */
  url: URL
  /** Whether another origin than the one asked for has answered. */
  redirected: boolean
}

const REDIRECTS_MAX = 10
const REDIRECT_STATUSES = new Set([301, 302, 303, 307, 308])

/** HTTP requests with time limits, redirects followed by hand, and errors in our words; one attempt each. */
export class Transport {
  readonly #userAgent: string
  readonly #dispatchers: Dispatchers
  readonly #headersMs: number
  readonly #bodyStallMs: number
  readonly #tracer: Tracer

  constructor({ userAgent, timeouts = {}, tracer = noTracing, proxies }: TransportOptions) {
    const { connectMs = 10_000, headersMs = 30_000, bodyStallMs = 30_000 } = timeouts
    this.#userAgent = userAgent
    this.#dispatchers = new Dispatchers(connectMs, proxies)
    this.#headersMs = headersMs
    this.#bodyStallMs = bodyStallMs
    this.#tracer = tracer
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
      if (given.method !== 'GET' && given.method !== 'HEAD') {
        throw refusedRedirect(given.url, 'it redirects a request that carries credentials or content')
      }
      url = redirectTarget(given.url, url, location)
      // Once left, the origin is not trusted again: others have decided where this goes.
      redirected ||= url.origin !== given.url.origin
    }
  }

  async close(): Promise<void> {
    await this.#dispatchers.destroy()
  }

  async #sendOnce(given: TransportRequest, url: URL, redirected: boolean): Promise<TransportResponse> {
    const { method, signal, authorization, secretHeaders = {}, body, connection = PLAIN_CONNECTION } = given
    signal.throwIfAborted()
    const span = this.#tracer.start(clientSpan(method, url), currentTraceparent())
    try {
      const response = await request(url, {
        dispatcher: this.#dispatchers.for(redirected ? elsewhere(connection, given.url, url) : connection),
        method,
        headers: {
          'user-agent': this.#userAgent,
          ...(redirected ? {} : revealed(secretHeaders)),
          ...given.headers,
          'accept-encoding': 'identity', // Digests are of the bytes as they are.
          ...(authorization && !redirected ? { authorization: authorization.reveal() } : {}),
          // Who is redirected to is no party to what goes on here.
          ...(span.traceparent !== undefined && !redirected ? { traceparent: span.traceparent } : {}),
        },
        body: body instanceof Secret ? body.reveal() : (body ?? null),
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
        url,
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

/**
 * The authorities of a registry are likely those of the storage behind it, but nobody else is shown who we are; and that this
 * machine's own registry need not prove itself says nothing of others.
 */
function elsewhere(connection: Connection, from: URL, to: URL): Connection {
  const mustProve = isLoopback(from.host) && !isLoopback(to.host)
  return { ...connection, clients: [], verify: connection.verify || mustProve }
}

function revealed(headers: Readonly<Record<string, Secret>>): Record<string, string> {
  // Names as undici would compare them: one given by the request itself stands in for one that is configured.
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value.reveal()]))
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
  if (code === 'UND_ERR_HEADERS_OVERFLOW' || code === 'HPE_HEADER_OVERFLOW') {
    const remedy = 'the registry or a mirror is at fault: try another one'
    return new PurserError('failed_precondition', `${host} sends more headers than are taken`, { remedy, cause: error })
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

/** Whether this is how a server that speaks plain HTTP looks to someone who speaks TLS; without a port, one that has no TLS port. */
export function speaksNoTls(error: unknown, host: string): boolean {
  const cause = error instanceof PurserError ? error.cause : undefined
  const code = cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : ''
  if (/^(?:EPROTO|ERR_SSL_.*)$/.test(code)) return true
  return !/:\d+$/.test(host) && (code === 'ECONNREFUSED' || code === 'UND_ERR_CONNECT_TIMEOUT')
}
