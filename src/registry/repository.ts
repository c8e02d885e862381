import type { Digest } from '../model/digest.ts'
import { PurserError } from '../model/errors.ts'
import type { Descriptor } from '../oci/manifest.ts'
import { isIndexType, isManifestType, MANIFEST_ACCEPT } from '../oci/media-types.ts'
import { formatReference, type ImageReference } from '../oci/reference.ts'
import { AttemptLog } from './attempts.ts'
import type { Authorizer } from './auth.ts'
import { bodyChunks, finalError, readBody, tooLarge } from './bodies.ts'
import {
  assertDigest,
  beginOf,
  describedBy,
  documentIn,
  type ResolvedImage,
  rangeHeader,
  strongEtag,
  wrongSize,
} from './documents.ts'
import { type ApiRequest, Exchange, type ExchangeParts, scopesFor } from './exchange.ts'
import { ForeignLayers } from './foreign-layers.ts'
import type { RegistryHost } from './hosts.ts'
import type { Capability } from './hosts-file.ts'
import { Retryable, RetryBudget, type RetryPolicy, retrying } from './retry.ts'
import { statusFailure } from './status.ts'
import type { TransportResponse } from './transport.ts'

/** Whether the next host is asked when one has failed: not at all, where it was away, or whatever it said. */
export type Fallback = 'never' | 'on-unavailable' | 'always'

export interface RegistryLogger {
  debug(fields: Record<string, unknown>, message: string): void
}

/** What all images of all registries share. */
export interface RegistryParts extends ExchangeParts {
  auth: Authorizer
  retry: RetryPolicy
  fallback: Fallback
  hostsOf: (registry: string) => Promise<RegistryHost[]>
  logger: RegistryLogger | undefined
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
  /** `host:port` of whoever sends them. */
  host: string
}

/** Which bytes of a blob are wanted. */
export interface BlobRange {
  offset: number
  /** The byte after the last one; the blob's end when left out. */
  endBytes?: number
}

/** What makes up for a failed try: a large image over a bad line fails often, and gets on. */
const REDEEMING_BYTES = 4 * 1024 * 1024
/** Bodies that broke off before a host is taken for one that cannot send them. */
const BROKEN_BODIES_MAX = 3

/**
 * One image's dealings with its registry and the mirrors of it: it knows which host has failed, who said what, and how many
 * more tries there are.
 *
 * Every method throws PurserError: unauthenticated, permission_denied, not_found, data_loss when bytes are not what their
 * digest says, unavailable after a few attempts, failed_precondition when the registry cannot be trusted.
 *
 * @see distribution-spec, "Pull" and "Push"
 */
export class Repository {
  readonly ref: ImageReference
  readonly budget: RetryBudget
  readonly #parts: RegistryParts
  readonly #auth: Authorizer
  readonly #attempts = new AttemptLog()
  readonly #foreign: ForeignLayers
  readonly #withoutTls = new Set<string>()
  /** Hosts that were away, or broke off again and again. */
  readonly #failed = new Set<string>()
  readonly #brokenBodies = new Map<string, number>()
  /** Why blobs could not be had, or broke off. */
  readonly #blobFailures = new Map<Digest, PurserError>()
  #hosts: Promise<RegistryHost[]> | undefined

  /** @param auth its own, where this image has credentials of its own */
  constructor(ref: ImageReference, parts: RegistryParts, auth: Authorizer) {
    this.ref = ref
    this.#parts = parts
    this.#auth = auth
    this.budget = new RetryBudget(parts.retry.budget)
    this.#foreign = new ForeignLayers(parts.transport, this.#attempts)
  }

  /** Who was asked, and what came of it. */
  get attempts() {
    return this.#attempts.list()
  }

  /**
   * What the reference names now.
   *
   * @param document `if-needed` asks for the descriptor only, which costs no rate limit where the image is there already;
   *   `wanted` brings the document along, which spares a round trip where it is not
   */
  async resolve(signal: AbortSignal, document: 'if-needed' | 'wanted' = 'if-needed'): Promise<ResolvedImage> {
    const { digest, tag } = this.ref
    const path = `manifests/${digest ?? tag}`
    const headers = { accept: MANIFEST_ACCEPT.join(', ') }
    // A digest is checked, whoever answers; for what a name means one must be trusted.
    const capability = digest === undefined ? 'resolve' : 'pull'
    return await this.#onHosts(capability, signal, async (exchange) => {
      if (document === 'if-needed') {
        const head = await exchange.request({ path, method: 'HEAD', headers }, signal)
        head.drop()
        const descriptor = head.status === 200 ? describedBy(head, digest) : undefined
        // What a HEAD cannot tell, a GET can: why it failed, or what the header leaves out.
        if (descriptor) return { descriptor }
      }
      const get = { path, method: 'GET' as const, headers }
      const response = await exchange.expect(get, formatReference(this.ref), signal)
      return await documentIn(response, digest, signal)
    })
  }

  /** A manifest or configuration, its size and digest checked. */
  async fetchDocument(descriptor: Descriptor, maxBytes: number, signal: AbortSignal): Promise<Buffer> {
    const { mediaType, digest, sizeBytes } = descriptor
    if (sizeBytes > maxBytes) throw tooLarge(this.ref.registry, maxBytes)
    const isManifest = isIndexType(mediaType) || isManifestType(mediaType)
    const path = `${isManifest ? 'manifests' : 'blobs'}/${digest}`
    const headers = { accept: isManifest ? mediaType : '*/*' }
    return await this.#onHosts('pull', signal, async (exchange) => {
      const response = await exchange.expect({ path, method: 'GET', headers }, digest, signal)
      const bytes = await readBody(response, sizeBytes, signal).catch((error: unknown) => {
        throw error instanceof PurserError && error.code === 'resource_exhausted' ? wrongSize(digest, sizeBytes) : error
      })
      if (bytes.length < sizeBytes) throw new Retryable(wrongSize(digest, sizeBytes))
      assertDigest(bytes, digest, response.host)
      return bytes
    })
  }

  /**
   * A blob's bytes of a range, as they come: whoever reads them checks their number and digest, and asks again when they break
   * off or it is unavailable; that counts for the budget.
   */
  async openBlob(descriptor: Descriptor, range: BlobRange, signal: AbortSignal): Promise<BlobStream> {
    const elsewhere = await this.#foreign.open(descriptor, range, signal)
    if (elsewhere) return elsewhere
    const { digest, sizeBytes } = descriptor
    const get = (headers: ApiRequest['headers'] = {}) => ({ path: `blobs/${digest}`, method: 'GET' as const, headers })
    const earlier = this.#blobFailures.get(digest)
    if (earlier && !this.budget.take()) throw earlier
    this.#blobFailures.delete(digest) // It is paid for.
    const open = async (exchange: Exchange): Promise<BlobStream> => {
      let response = await exchange.expect(get(rangeHeader(range, sizeBytes)), digest, signal)
      if (response.status === 416) {
        response.drop()
        response = await exchange.expect(get(), digest, signal)
      }
      try {
        const etag = strongEtag(response.header('etag'))
        return {
          body: this.#watched(exchange.host, digest, response, signal),
          offset: beginOf(response, digest, sizeBytes),
          partial: response.status === 206,
          ...(etag === undefined ? {} : { etag }),
          host: response.host,
        }
      } catch (error) {
        response.drop()
        throw error
      }
    }
    try {
      return await this.#onHosts('pull', signal, open, { ...this.#parts.retry, attemptsMax: 1 })
    } catch (error) {
      if (error instanceof PurserError) this.#blobFailures.set(digest, error)
      throw error
    }
  }

  /**
   * One request to a host that may do what it is for, with its answer whatever the status; a failure to answer is tried again
   * where the request has no body. For pushes: the scope asked for is `pull,push`.
   *
   * @param also further scopes, such as that of the repository that a blob is mounted from
   */
  async send(
    capability: Capability,
    request: ApiRequest,
    signal: AbortSignal,
    also: readonly string[] = [],
  ): Promise<TransportResponse> {
    return await this.#onHosts(capability, signal, async (exchange) => {
      const response = await exchange.request(request, signal, scopesFor(this.ref, capability, also))
      if (response.status < 500 && response.status !== 429) return response
      const failure = await statusFailure(response, `the registry ${response.host}`, signal)
      throw request.body === undefined ? failure : finalError(failure)
    })
  }

  /**
   * Calls for one host after the other, each with its retries, until one has what is wanted.
   *
   * @throws PurserError that of the last one, which is the registry itself, with what the others said
   */
  async #onHosts<T>(
    capability: Capability,
    signal: AbortSignal,
    call: (exchange: Exchange) => Promise<T>,
    retry = this.#parts.retry,
  ): Promise<T> {
    const hosts = await this.#hostsFor(capability)
    const failures: { host: RegistryHost; error: PurserError }[] = []
    for (const [index, host] of hosts.entries()) {
      const isLast = index === hosts.length - 1 || this.#parts.fallback === 'never'
      try {
        // Where another one can be asked, patience is a waste of time.
        return await this.#attempt(host, isLast ? retry : { ...retry, attemptsMax: 1 }, signal, call)
      } catch (error) {
        signal.throwIfAborted()
        if (!(error instanceof PurserError)) throw error
        failures.push({ host, error })
        if (error.code === 'unavailable') this.#failed.add(host.name)
        if (isLast || (this.#parts.fallback === 'on-unavailable' && error.code !== 'unavailable')) break
      }
    }
    throw told(failures)
  }

  /** Hosts that have failed come last: they are asked only when there is nobody else. */
  async #hostsFor(capability: Capability): Promise<RegistryHost[]> {
    const { registry } = this.ref
    this.#hosts ??= this.#parts.hostsOf(registry)
    const able = (await this.#hosts).filter(({ capabilities }) => capabilities.has(capability))
    if (able.length === 0) {
      throw new PurserError('failed_precondition', `no host that is configured for ${registry} may ${capability}`, {
        remedy: 'add the capability to a host in the hosts.toml of this registry',
      })
    }
    if (this.#parts.fallback === 'never') return able.slice(0, 1)
    return able.toSorted((a, b) => Number(this.#failed.has(a.name)) - Number(this.#failed.has(b.name)))
  }

  async #attempt<T>(
    host: RegistryHost,
    policy: RetryPolicy,
    signal: AbortSignal,
    call: (exchange: Exchange) => Promise<T>,
  ): Promise<T> {
    const { logger, pauses, retryAfterMaxMs } = this.#parts
    const once = async (): Promise<T> => {
      await pauses.wait(host.name, retryAfterMaxMs, signal)
      const exchange = new Exchange(host, this.ref, this.#parts, this.#auth, this.#withoutTls)
      try {
        const result = await call(exchange)
        this.#attempts.add(host.name, exchange.status)
        return result
      } catch (error) {
        signal.throwIfAborted()
        const failure = finalError(error)
        if (failure instanceof PurserError) this.#attempts.add(host.name, exchange.status, failure.message)
        throw error
      }
    }
    const onRetry = (err: PurserError, attempt: number, delayMs: number) => {
      const { registry, repository } = this.ref
      logger?.debug({ registry, repository, host: host.name, attempt, delayMs, err }, 'registry request is tried again')
    }
    return await retrying(policy, signal, once, onRetry, this.budget)
  }

  /** A body whose end is not forgotten: that a host answers does not mean that it can send. */
  async *#watched(
    host: RegistryHost,
    digest: Digest,
    response: TransportResponse,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    try {
      let bytes = 0
      for await (const chunk of bodyChunks(response, signal)) {
        bytes += chunk.length
        if (bytes >= REDEEMING_BYTES) {
          bytes = 0
          this.budget.giveBack()
        }
        yield chunk
      }
    } catch (error) {
      const failure = finalError(error)
      if (!signal.aborted && failure instanceof PurserError) {
        this.#attempts.add(host.name, response.status, failure.message)
        this.#blobFailures.set(digest, failure)
        const broken = (this.#brokenBodies.get(host.name) ?? 0) + 1
        this.#brokenBodies.set(host.name, broken)
        if (broken >= BROKEN_BODIES_MAX) this.#failed.add(host.name)
      }
      throw failure
    }
  }
}

/** The last host is the registry itself, so what it says counts; why the ones before it did not help stands with it. */
function told(failures: readonly { host: RegistryHost; error: PurserError }[]): PurserError {
  const last = failures.at(-1)?.error ?? new PurserError('internal', 'no host was asked')
  const before = failures
    .slice(0, -1)
    .map(({ host: { name }, error: { message } }) => (message.includes(name) ? message : `${name}: ${message}`))
  if (before.length === 0) return last
  const { code, message, remedy } = last
  return new PurserError(code, `${message}; before that, ${before.slice(0, 3).join('; ')}`, {
    cause: last,
    ...(remedy === undefined ? {} : { remedy }),
  })
}
