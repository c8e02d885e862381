import { PurserError } from '../model/errors.ts'
import type { Descriptor } from '../oci/manifest.ts'
import type { ImageReference } from '../oci/reference.ts'
import { Authorizer } from './auth.ts'
import type { Credentials, CredentialsSource } from './credentials.ts'
import type { ResolvedImage } from './documents.ts'
import { isLoopback } from './endpoint.ts'
import { hostsOf } from './hosts.ts'
import { HostPauses } from './pauses.ts'
import {
  type BlobRange,
  type BlobStream,
  type Fallback,
  type RegistryLogger,
  type RegistryParts,
  Repository,
} from './repository.ts'
import { DEFAULT_RETRY, type RetryPolicy } from './retry.ts'
import { Transport, type TransportOptions } from './transport.ts'

export { DOCUMENT_BYTES_MAX, type ResolvedImage } from './documents.ts'
export type { ApiRequest } from './exchange.ts'
export type { BlobRange, BlobStream, Fallback, RegistryLogger, Repository } from './repository.ts'

export interface RegistryClientOptions {
  credentials: CredentialsSource
  /** Directories with what is to be known of each registry, as in /etc/containerd/certs.d. */
  configPaths?: readonly string[]
  /** `always` when left out, as containerd has it. */
  fallback?: Fallback
  /** Whether a registry (`host[:port]`) is asked over plain HTTP and nothing else, where nothing else is configured for it. */
  plainHttp?: (registry: string) => boolean
  userAgent: string
  logger?: RegistryLogger
  timeouts?: TransportOptions['timeouts']
  tracer?: TransportOptions['tracer']
  proxies?: TransportOptions['proxies']
  retry?: Partial<RetryPolicy>
}

/** Talks to registries that speak the OCI distribution spec or Docker's API v2. */
export class RegistryClient implements AsyncDisposable {
  readonly #parts: RegistryParts
  readonly #closed = new AbortController()

  constructor({ credentials, configPaths = [], fallback = 'always', retry, logger, ...more }: RegistryClientOptions) {
    const { plainHttp = () => false, ...options } = more
    const transport = new Transport(options)
    const policy = { ...DEFAULT_RETRY, ...retry }
    this.#parts = {
      transport,
      auth: new Authorizer(transport, credentials, (name) => plainHttp(name) || isLoopback(name), this.#closed.signal),
      pauses: new HostPauses(),
      retry: policy,
      retryAfterMaxMs: policy.retryAfterMaxMs,
      fallback,
      hostsOf: (registry) => hostsOf(registry, { roots: configPaths, plainHttp }),
      logger,
    }
  }

  /**
   * An image's registry and its mirrors, for all that one pull or push wants of them.
   *
   * @param credentials for the registry, in place of those that are configured; a mirror does not get them
   */
  open(ref: ImageReference, credentials?: Credentials): Repository {
    const { auth } = this.#parts
    const own =
      credentials &&
      auth.withCredentials(async ({ registry }) => {
        return registry === ref.registry ? credentials : undefined
      })
    return new Repository(ref, this.#parts, own ?? auth)
  }

  /** `open(ref).resolve` for one who wants nothing else. */
  resolve(ref: ImageReference, signal: AbortSignal, document?: 'if-needed' | 'wanted'): Promise<ResolvedImage> {
    return this.open(ref).resolve(signal, document)
  }

  /** `open(ref).fetchDocument` likewise. */
  fetchDocument(ref: ImageReference, of: Descriptor, maxBytes: number, signal: AbortSignal): Promise<Buffer> {
    return this.open(ref).fetchDocument(of, maxBytes, signal)
  }

  /** `open(ref).openBlob` likewise. */
  openBlob(ref: ImageReference, descriptor: Descriptor, range: BlobRange, signal: AbortSignal): Promise<BlobStream> {
    return this.open(ref).openBlob(descriptor, range, signal)
  }

  /** Ends all that is under way. */
  async close(): Promise<void> {
    this.#closed.abort(new PurserError('cancelled', 'the registry client was closed', { remedy: 'try again' }))
    await this.#parts.transport.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
