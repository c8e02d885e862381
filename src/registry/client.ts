import { createHash } from 'node:crypto'
import type { Dispatcher } from 'undici'
import { type Digest, digestOf, isDigest, splitDigest } from '../model/digest.ts'
import { PurserError } from '../model/errors.ts'
import type { Secret } from '../model/secret.ts'
import { type Descriptor, parseManifestDocument } from '../oci/manifest.ts'
import { isIndexType, isManifestType, MANIFEST_ACCEPT } from '../oci/media-types.ts'
import { formatReference, type ImageReference } from '../oci/reference.ts'
import { Authorizer, type AuthTarget, loginNeeded } from './auth.ts'
import { bodyChunks, finalError, readBody, tooLarge } from './bodies.ts'
import type { CredentialsSource } from './credentials.ts'
import { apiUrl, isLoopback } from './endpoint.ts'
import { DEFAULT_RETRY, Retryable, type RetryPolicy, retrying } from './retry.ts'
import { statusFailure } from './status.ts'
import { Transport, type TransportOptions, type TransportRequest, type TransportResponse } from './transport.ts'

export interface RegistryLogger {
  debug(fields: Record<string, unknown>, message: string): void
}

export interface RegistryClientOptions {
  credentials: CredentialsSource
  /** Whether a registry (`host[:port]`) is asked over plain HTTP; those on this machine are, when left out. */
  plainHttp?: (registry: string) => boolean
  userAgent: string
  logger?: RegistryLogger
  dispatcher?: Dispatcher
  timeouts?: TransportOptions['timeouts']
  tracer?: TransportOptions['tracer']
  retry?: Partial<RetryPolicy>
}

export interface ResolvedImage {
  descriptor: Descriptor
  /** The document, its digest checked, where resolving has brought it along. */
  bytes?: Buffer
}

export interface BlobStream {
  /** Read it to its end, leave its loop, or abort the signal: until then it holds a connection. */
  body: AsyncIterable<Uint8Array>
  /** Where it begins: 0 when the server cannot begin where it was asked to. */
  offset: number
  /** Whether only a part was sent, as asked for: then other parts can be had too. */
  partial: boolean
  /** The server's name for these bytes, where it has a strong one: parts that have another one are not of the same file. */
  etag?: string
}

/** Which bytes of a blob are wanted. */
export interface BlobRange {
  offset: number
  /** The byte after the last one; the blob's end when left out. */
  endBytes?: number
}

/** What a manifest may have at most: as much as containerd takes. */
export const DOCUMENT_BYTES_MAX = 8 * 1024 * 1024

/**
 * Pulls from registries that speak the OCI distribution spec or Docker's API v2.
 *
 * Every method throws PurserError: unauthenticated, permission_denied, not_found, data_loss when bytes are not what their
 * digest says, unavailable after a few attempts, failed_precondition when the registry cannot be trusted.
 *
 * @see distribution-spec, "Pull"
 */
export class RegistryClient implements AsyncDisposable {
  readonly #transport: Transport
  readonly #auth: Authorizer
  readonly #plainHttp: (registry: string) => boolean
  readonly #retry: RetryPolicy
  readonly #logger: RegistryLogger | undefined
  readonly #closed = new AbortController()

  constructor({ credentials, plainHttp = isLoopback, retry, logger, ...transport }: RegistryClientOptions) {
    this.#transport = new Transport(transport)
    this.#auth = new Authorizer(this.#transport, credentials, plainHttp, this.#closed.signal)
    this.#plainHttp = plainHttp
    this.#retry = { ...DEFAULT_RETRY, ...retry }
    this.#logger = logger
  }

  /**
   * What a reference names now.
   *
   * @param document `if-needed` asks for the descriptor only, which costs no rate limit where the image is there already;
   *   `wanted` brings the document along, which spares a round trip where it is not
   */
  async resolve(
    ref: ImageReference,
    signal: AbortSignal,
    document: 'if-needed' | 'wanted' = 'if-needed',
  ): Promise<ResolvedImage> {
    const path = `manifests/${ref.digest ?? ref.tag}`
    const headers = { accept: MANIFEST_ACCEPT.join(', ') }
    if (document === 'if-needed') {
      const descriptor = await this.#attempts(ref, signal, async () => {
        const head = await this.#request(ref, { path, method: 'HEAD', headers }, signal)
        head.drop()
        // What a HEAD cannot tell, a GET can: why it failed, or what the header leaves out.
        return head.status === 200 ? describedBy(head, ref.digest) : undefined
      })
      if (descriptor) return { descriptor }
    }
    return await this.#attempts(ref, signal, async () => {
      const response = await this.#expect(ref, { path, method: 'GET', headers }, formatReference(ref), signal)
      return await documentIn(response, ref, signal)
    })
  }

  /** A manifest or configuration, its size and digest checked. */
  async fetchDocument(
    ref: ImageReference,
    descriptor: Descriptor,
    maxBytes: number,
    signal: AbortSignal,
  ): Promise<Buffer> {
    const { mediaType, digest, sizeBytes } = descriptor
    if (sizeBytes > maxBytes) throw tooLarge(ref.registry, maxBytes)
    const isManifest = isIndexType(mediaType) || isManifestType(mediaType)
    const path = `${isManifest ? 'manifests' : 'blobs'}/${digest}`
    return await this.#attempts(ref, signal, async () => {
      const headers = { accept: isManifest ? mediaType : '*/*' }
      const response = await this.#expect(ref, { path, method: 'GET', headers }, digest, signal)
      const bytes = await readBody(response, sizeBytes, signal).catch((error: unknown) => {
        throw error instanceof PurserError && error.code === 'resource_exhausted' ? wrongSize(digest, sizeBytes) : error
      })
      if (bytes.length < sizeBytes) throw new Retryable(wrongSize(digest, sizeBytes))
      assertDigest(bytes, digest, response.host)
      return bytes
    })
  }

  /** A blob's bytes of a range, as they come: whoever reads them checks their number and digest. */
  async openBlob(
    ref: ImageReference,
    descriptor: Descriptor,
    range: BlobRange,
    signal: AbortSignal,
  ): Promise<BlobStream> {
    const { digest, sizeBytes } = descriptor
    const get = (headers: Record<string, string>) => ({ path: `blobs/${digest}`, method: 'GET' as const, headers })
    return await this.#attempts(ref, signal, async () => {
      let response = await this.#expect(ref, get(rangeHeader(range, sizeBytes)), digest, signal)
      if (response.status === 416) {
        response.drop()
        response = await this.#expect(ref, get({}), digest, signal)
      }
      try {
        const etag = strongEtag(response.header('etag'))
        return {
          body: finalised(bodyChunks(response, signal)),
          offset: beginOf(response, digest, sizeBytes),
          partial: response.status === 206,
          ...(etag === undefined ? {} : { etag }),
        }
      } catch (error) {
        response.drop()
        throw error
      }
    })
  }

  /** Ends all that is under way. */
  async close(): Promise<void> {
    this.#closed.abort(new PurserError('cancelled', 'the registry client was closed', { remedy: 'try again' }))
    await this.#transport.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #attempts<T>({ registry, repository }: ImageReference, signal: AbortSignal, call: () => Promise<T>): Promise<T> {
    return retrying(this.#retry, signal, call, (err, attempt, delayMs) => {
      this.#logger?.debug({ registry, repository, attempt, delayMs, err }, 'registry request is tried again')
    })
  }

  /** One attempt of which only success (or a range that cannot be had) comes back. */
  async #expect(
    ref: ImageReference,
    request: ApiRequest,
    what: string,
    signal: AbortSignal,
  ): Promise<TransportResponse> {
    const response = await this.#request(ref, request, signal)
    const { status } = response
    if (status === 200 || status === 206 || status === 416) return response
    if (status === 404) {
      response.drop()
      throw new PurserError('not_found', `${what} is not in ${ref.registry}/${ref.repository}`, {
        remedy: 'check its name, tag and spelling; a private repository may ask for docker login first',
      })
    }
    if (status === 403 || (status === 401 && response.redirected)) {
      response.drop()
      const who = response.redirected ? `${response.host}, to which ${ref.registry} redirects,` : ref.registry
      throw new PurserError('permission_denied', `${who} denies access to ${what}`, {
        remedy: `docker login ${ref.registry} as someone who may pull it (purser reads ~/.docker/config.json)`,
      })
    }
    throw await statusFailure(response, `the registry ${response.host}`, signal)
  }

  /** One attempt, with a challenge answered where there is one. */
  async #request(ref: ImageReference, { path, ...rest }: ApiRequest, signal: AbortSignal): Promise<TransportResponse> {
    const { registry, repository } = ref
    const api = apiUrl(registry, this.#plainHttp)
    const target: AuthTarget = { registry, repository, api }
    const send = (authorization: Secret | undefined) =>
      this.#transport.send({
        ...rest,
        url: new URL(`${repository}/${path}`, api),
        signal,
        ...(authorization ? { authorization } : {}),
      })

    const known = this.#auth.known(target)
    const first = await send(known)
    if (first.status !== 401 || first.redirected) return first
    first.drop()
    const second = await send(await this.#auth.answer(target, first, known, signal))
    if (second.status !== 401 || second.redirected) return second
    second.drop()
    throw refusedAfterLogin(ref)
  }
}

interface ApiRequest extends Pick<TransportRequest, 'method' | 'headers'> {
  /** Below the repository. */
  path: string
}

/** What the headers of a manifest say it is; undefined where they leave something out. */
function describedBy(response: TransportResponse, expected: Digest | undefined): Descriptor | undefined {
  const mediaType = response.header('content-type')?.split(';', 1)[0]?.trim() ?? ''
  const length = response.header('content-length') ?? ''
  const digest = announcedDigest(response, expected) ?? expected
  if (digest === undefined || !/^\d{1,9}$/.test(length) || Number(length) > DOCUMENT_BYTES_MAX) return undefined
  if (!isIndexType(mediaType) && !isManifestType(mediaType)) return undefined
  return { mediaType, digest, sizeBytes: Number(length) }
}

async function documentIn(
  response: TransportResponse,
  ref: ImageReference,
  signal: AbortSignal,
): Promise<ResolvedImage> {
  const announced = announcedDigest(response, ref.digest)
  const bytes = await readBody(response, DOCUMENT_BYTES_MAX, signal)
  for (const digest of [announced, ref.digest]) if (digest) assertDigest(bytes, digest, response.host)
  const { mediaType } = parseManifestDocument(bytes, response.header('content-type'))
  return {
    descriptor: { mediaType, digest: ref.digest ?? announced ?? digestOf(bytes), sizeBytes: bytes.length },
    bytes,
  }
}

/** @throws PurserError data_loss when it is of the expected digest's algorithm and differs */
function announcedDigest(response: TransportResponse, expected: Digest | undefined): Digest | undefined {
  const text = response.header('docker-content-digest')
  if (text === undefined || !isDigest(text)) return undefined
  if (expected && splitDigest(expected).algorithm === splitDigest(text).algorithm && text !== expected) {
    throw new PurserError('data_loss', `${response.host} answers with ${text} when asked for ${expected}`, {
      remedy: 'the registry or a mirror is at fault: try another one',
    })
  }
  return text
}

function assertDigest(bytes: Uint8Array, digest: Digest, host: string): void {
  const { algorithm } = splitDigest(digest)
  const found = `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`
  if (found === digest) return
  throw new PurserError('data_loss', `${host} sends ${found} as ${digest}`, {
    remedy: 'the registry or a mirror is at fault: try another one, or push the image again',
  })
}

function wrongSize(digest: Digest, sizeBytes: number): PurserError {
  return new PurserError(
    'data_loss',
    `${digest} should have ${sizeBytes} bytes, and the registry sends another number`,
    {
      remedy: 'the registry or a mirror is at fault: try another one, or push the image again',
    },
  )
}

/** Without one where all of the blob is wanted: not every server takes them. @see RFC 9110 section 14.2 */
function rangeHeader(
  { offset, endBytes = Number.POSITIVE_INFINITY }: BlobRange,
  sizeBytes: number,
): Record<string, string> {
  if (endBytes < sizeBytes) return { range: `bytes=${offset}-${endBytes - 1}` }
  return offset === 0 ? {} : { range: `bytes=${offset}-` }
}

/** @see RFC 9110 section 8.8.3 */
const strongEtag = (header: string | undefined): string | undefined =>
  header !== undefined && /^"[\x21\x23-\x7e]{1,256}"$/.test(header) ? header : undefined

/** Where a blob's body begins. @see RFC 9110 section 14.4 */
function beginOf(response: TransportResponse, digest: Digest, sizeBytes: number): number {
  const length = response.header('content-length')
  if (response.status !== 206) {
    if (length !== undefined && Number(length) !== sizeBytes) throw wrongSize(digest, sizeBytes)
    return 0
  }
  const [, begin, total] =
    /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15}|\*)$/.exec(response.header('content-range') ?? '') ?? []
  if (begin === undefined) {
    throw new PurserError('unavailable', `${response.host} sends a part of ${digest} without saying which`, {
      remedy: 'the registry or a mirror is at fault: try another one',
    })
  }
  if (total !== '*' && Number(total) !== sizeBytes) throw wrongSize(digest, sizeBytes)
  return Number(begin)
}

async function* finalised(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of chunks) yield chunk
  } catch (error) {
    throw finalError(error)
  }
}

/** Registries answer so for what one may not see, whether it is there or not. */
function refusedAfterLogin({ registry, repository }: ImageReference): PurserError {
  const { code, remedy } = loginNeeded(registry, undefined)
  const message = `${registry} gives no access to ${repository}: it is private, or there is no such repository`
  return new PurserError(code, message, remedy === undefined ? {} : { remedy })
}
