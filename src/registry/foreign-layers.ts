import type { Descriptor } from '../oci/manifest.ts'
import { isForeignLayer } from '../oci/media-types.ts'
import type { AttemptLog } from './attempts.ts'
import { bodyChunks, finalError } from './bodies.ts'
import { beginOf, rangeHeader, strongEtag } from './documents.ts'
import type { BlobRange, BlobStream } from './repository.ts'
import type { Transport, TransportResponse } from './transport.ts'

/** Of one descriptor; more are not asked. */
const URLS_MAX = 8

/**
 * Layers that registries may not distribute: their descriptors say where they lie. Nobody there is shown credentials, and what
 * they send is checked as any blob is.
 *
 * @see image-spec, layer.md, "Non-Distributable Layers"; containerd, core/remotes/docker/fetcher.go
 */
export class ForeignLayers {
  readonly #transport: Transport
  readonly #attempts: AttemptLog
  /** They are not asked again. */
  readonly #failed = new Set<string>()

  constructor(transport: Transport, attempts: AttemptLog) {
    this.#transport = transport
    this.#attempts = attempts
  }

  /** @returns undefined for any other layer, and where none of its URLs answers: then the registry may have it */
  async open(descriptor: Descriptor, range: BlobRange, signal: AbortSignal): Promise<BlobStream | undefined> {
    if (!isForeignLayer(descriptor.mediaType)) return undefined
    for (const text of (descriptor.urls ?? []).slice(0, URLS_MAX)) {
      const url = URL.parse(text)
      if (!url || !/^https?:$/.test(url.protocol) || this.#failed.has(url.href)) continue
      try {
        const stream = await this.#openAt(url, descriptor, range, signal)
        if (stream) return stream
      } catch (error) {
        signal.throwIfAborted()
        this.#fail(url, undefined, error)
      }
    }
    return undefined
  }

  async #openAt(
    url: URL,
    { digest, sizeBytes }: Descriptor,
    range: BlobRange,
    signal: AbortSignal,
  ): Promise<BlobStream | undefined> {
    const headers = rangeHeader(range, sizeBytes)
    const response = await this.#transport.send({ url, method: 'GET', headers, signal })
    if (response.status !== 200 && response.status !== 206) {
      response.drop()
      this.#fail(url, response.status, new Error(`${url.host} has no ${digest}`))
      return undefined
    }
    try {
      const etag = strongEtag(response.header('etag'))
      return {
        body: this.#watched(url, response, signal),
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

  async *#watched(url: URL, response: TransportResponse, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    try {
      yield* bodyChunks(response, signal)
    } catch (error) {
      if (!signal.aborted) this.#fail(url, response.status, error)
      throw finalError(error)
    }
  }

  #fail(url: URL, status: number | undefined, error: unknown): void {
    this.#failed.add(url.href)
    this.#attempts.add(url.host, status, error instanceof Error ? error.message : String(error))
  }
}
