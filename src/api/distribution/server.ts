import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream/promises'
import type { TLSSocket } from 'node:tls'
import type { Logger } from 'pino'
import { content } from '../../commands/content.ts'
import type { EventLog } from '../../log/event-log.ts'
import { type Digest, isDigest } from '../../model/digest.ts'
import { PurserError } from '../../model/errors.ts'
import type { Secret } from '../../model/secret.ts'
import { isIndexType, isManifestType } from '../../oci/media-types.ts'
import type { Intake } from '../../queue/intake.ts'
import { listenOn } from '../listen-address.ts'
import { carriesToken } from './access.ts'
import { fail, json, rangeOf } from './answers.ts'
import { type AskedRepository, candidatesFor, findImage, tagsOf } from './names.ts'
import { Upstream } from './upstream.ts'

/** Where bytes come from; to be held while they are read. */
export interface ServedBlobs {
  stat(digest: Digest): Promise<{ sizeBytes: number } | undefined>
  open(digest: Digest, range: { start: number; end: number }): NodeJS.ReadableStream
  hold(digest: Digest): Disposable
}

export interface DistributionOptions {
  log: EventLog
  intake: Intake
  blobs: ServedBlobs
  /** `HOST:PORT`; port 0 takes a free one. */
  address: string
  /** Whose images are served. */
  namespace: string
  /** Whether what is missing is pulled. */
  upstream: boolean
  /** PEM texts. */
  tls: { cert: string; key: string; clientCa?: string } | undefined
  token: Secret | undefined
  logger: Logger
}

const CONNECTIONS_MAX = 256
const REQUEST_MS = 30_000
const TAGS_MAX = 1000
const NAME = /^[a-z0-9][a-z0-9._/:-]{0,254}$/
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/

/**
 * Serves images over the distribution API, read-only, until disposed: so that this node can be another one's mirror, and docker,
 * skopeo and the like can pull from it.
 *
 * @throws PurserError unavailable when the address cannot be listened on
 * @see distribution-spec, "Pull"
 */
export async function serveDistribution(options: DistributionOptions): Promise<{ address: string } & AsyncDisposable> {
  const { tls, logger } = options
  const registry = new Distribution(options)
  const handle = (request: IncomingMessage, response: ServerResponse) => void registry.handle(request, response)
  const limits = { requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS }
  const server: Server = tls ? createSecureServer({ ...limits, ...secured(tls) }, handle) : createServer(limits, handle)
  server.maxConnections = CONNECTIONS_MAX
  await listenOn(server, options.address, 'registry.serve.address')
  const { address: host, port, family } = server.address() as AddressInfo
  const address = family === 'IPv6' ? `[${host}]:${port}` : `${host}:${port}`
  logger.info({ address, tls: tls !== undefined }, 'serving images')
  return {
    address,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      registry.stop()
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

const secured = ({ cert, key, clientCa }: { cert: string; key: string; clientCa?: string }) => ({
  cert,
  key,
  minVersion: 'TLSv1.2' as const,
  ...(clientCa === undefined ? {} : { ca: clientCa, requestCert: true, rejectUnauthorized: true }),
})

class Distribution {
  readonly #options: DistributionOptions
  readonly #upstream: Upstream
  readonly #stop = new AbortController()

  constructor(options: DistributionOptions) {
    this.#options = options
    this.#upstream = new Upstream(options.log, options.intake, options.namespace)
  }

  stop(): void {
    this.#stop.abort(new PurserError('unavailable', 'the daemon stops'))
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController()
    response.once('close', () => gone.abort(new PurserError('cancelled', 'the client has gone')))
    const signal = AbortSignal.any([gone.signal, this.#stop.signal])
    request.resume()
    response.setHeader('docker-distribution-api-version', 'registry/2.0')
    try {
      await this.#answer(request, response, signal)
    } catch (err) {
      if (signal.aborted || response.headersSent) return void response.destroy()
      const { logger } = this.#options
      if (err instanceof PurserError) {
        logger.info({ code: err.code, reason: err.message, url: request.url }, 'image could not be served')
        return fail(response, 'UNAVAILABLE', err.message)
      }
      logger.error({ err, url: request.url }, 'request failed unexpectedly')
      fail(response, 'UNAVAILABLE', 'the log of the daemon says why')
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<void> {
    const { token } = this.#options
    if (token && !carriesToken(request.headers.authorization, token)) {
      return fail(response, 'UNAUTHORIZED', 'a token is wanted', { 'www-authenticate': 'Basic realm="purser"' })
    }
    const url = URL.parse(request.url ?? '', 'http://here') ?? undefined
    const path = url && decodedPath(url)
    if (url === undefined || path === undefined) return fail(response, 'NAME_UNKNOWN', 'there is no such path')
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return fail(response, 'UNSUPPORTED', 'what is here can only be read', { allow: 'GET, HEAD' })
    }
    if (path === '/v2' || path === '/v2/') return json(response, 200, {})
    const [, name = '', kind, last = ''] = /^\/v2\/(.+)\/(manifests|blobs|tags)\/([^/]+)$/.exec(path) ?? []
    if (!NAME.test(name)) return fail(response, 'NAME_UNKNOWN', 'there is no such path')
    const asked: AskedRepository = { name, registry: url.searchParams.get('ns') ?? undefined }
    if (kind === 'manifests') return await this.#manifest(request, response, asked, last, signal)
    if (kind === 'blobs') return await this.#blob(request, response, last, signal)
    if (last === 'list') return this.#tags(response, asked, url)
    fail(response, 'NAME_UNKNOWN', 'there is no such path')
  }

  async #manifest(
    request: IncomingMessage,
    response: ServerResponse,
    asked: AskedRepository,
    reference: string,
    signal: AbortSignal,
  ): Promise<void> {
    if (!isDigest(reference) && !TAG.test(reference)) {
      return fail(response, 'MANIFEST_UNKNOWN', `${JSON.stringify(reference.slice(0, 200))} is no tag or digest`)
    }
    const here = () => this.#manifestHere(asked, reference)
    const digest =
      (await here()) ?? ((await this.#fetched(request, asked, reference, signal)) ? await here() : undefined)
    if (digest === undefined) return fail(response, 'MANIFEST_UNKNOWN', `${asked.name}:${reference} is not here`)
    await this.#send(request, response, digest, signal)
  }

  /** The document that is meant, if it is here. */
  async #manifestHere(asked: AskedRepository, reference: string): Promise<Digest | undefined> {
    const { log, namespace, blobs } = this.#options
    const digest = isDigest(reference)
      ? reference
      : findImage(log.documents, namespace, asked, reference)?.target.digest
    if (digest === undefined) return undefined
    const record = log.documents.get(content, namespace, digest)
    if (record.status !== 'present') return undefined
    if (!isIndexType(record.mediaType) && !isManifestType(record.mediaType)) return undefined
    return (await blobs.stat(digest)) ? digest : undefined
  }

  async #fetched(
    request: IncomingMessage,
    asked: AskedRepository,
    reference: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (!this.#options.upstream) return false
    const [likeliest] = candidatesFor(asked, reference)
    return likeliest !== undefined && (await this.#upstream.bring(likeliest, actorOf(request), signal))
  }

  async #blob(request: IncomingMessage, response: ServerResponse, digest: string, signal: AbortSignal): Promise<void> {
    if (!isDigest(digest)) return fail(response, 'DIGEST_INVALID', 'a digest is sha256: and 64 lower-case hex digits')
    const { log, namespace, blobs } = this.#options
    const isOurs = log.documents.get(content, namespace, digest).status === 'present'
    if (!isOurs || !(await blobs.stat(digest))) return fail(response, 'BLOB_UNKNOWN', `${digest} is not here`)
    await this.#send(request, response, digest, signal)
  }

  async #send(request: IncomingMessage, response: ServerResponse, digest: Digest, signal: AbortSignal): Promise<void> {
    const { log, namespace, blobs } = this.#options
    using _ = blobs.hold(digest)
    const [record, found] = [log.documents.get(content, namespace, digest), await blobs.stat(digest)]
    if (record.status !== 'present' || !found) return fail(response, 'BLOB_UNKNOWN', `${digest} is not here`)
    const { sizeBytes } = found
    const isDocument = isIndexType(record.mediaType) || isManifestType(record.mediaType)
    const headers = {
      'content-type': isDocument ? record.mediaType : 'application/octet-stream',
      'docker-content-digest': digest,
      etag: `"${digest}"`,
      'accept-ranges': 'bytes',
    }
    if (request.headers['if-none-match'] === headers.etag) return void response.writeHead(304, headers).end()
    const range = rangeOf(request.headers.range, sizeBytes)
    if (range === 'unsatisfiable') {
      return void response.writeHead(416, { 'content-range': `bytes */${sizeBytes}`, 'content-length': 0 }).end()
    }
    const { start, end } = range ?? { start: 0, end: sizeBytes - 1 }
    response.writeHead(range ? 206 : 200, {
      ...headers,
      'content-length': end - start + 1,
      ...(range ? { 'content-range': `bytes ${start}-${end}/${sizeBytes}` } : {}),
    })
    if (request.method === 'HEAD' || sizeBytes === 0) return void response.end()
    await pipeline(blobs.open(digest, { start, end }), response, { signal })
  }

  #tags(response: ServerResponse, asked: AskedRepository, url: URL): void {
    const { log, namespace } = this.#options
    const all = tagsOf(log.documents, namespace, asked)
    if (all.length === 0) {
      fail(response, 'NAME_UNKNOWN', `${asked.name} is not here`)
      return
    }
    const [last, wanted] = [url.searchParams.get('last') ?? '', Number(url.searchParams.get('n') ?? TAGS_MAX)]
    const count = Number.isInteger(wanted) && wanted >= 0 ? Math.min(wanted, TAGS_MAX) : TAGS_MAX
    const rest = all.filter((tag) => tag > last)
    const tags = rest.slice(0, count)
    const end = tags.at(-1)
    const isMore = rest.length > tags.length && end !== undefined
    const next = `</v2/${asked.name}/tags/list?n=${count}&last=${end}>; rel="next"`
    json(response, 200, { name: asked.name, tags }, isMore ? { link: next } : {})
  }
}

/** Undefined for what is not percent-encoded as it should be. */
function decodedPath(url: URL): string | undefined {
  try {
    return decodeURIComponent(url.pathname)
  } catch {
    return undefined
  }
}

/** By its certificate where it has one, or else by its address. */
function actorOf({ socket }: IncomingMessage): string {
  const peer = 'getPeerCertificate' in socket ? (socket as TLSSocket).getPeerCertificate() : undefined
  const subject = peer?.subject?.CN
  return subject === undefined
    ? `registry:${socket.remoteAddress ?? 'unknown'}`
    : `registry:cn=${String(subject).slice(0, 100)}`
}
