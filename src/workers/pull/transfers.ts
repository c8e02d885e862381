import type { Bandwidth } from '../../content/bandwidth.ts'
import type { Connections } from '../../content/connections.ts'
import { BlobFetch, type FetchBlobRequest } from '../../content/fetch.ts'
import type { Ingest } from '../../content/ingest.ts'
import type { ContentStore } from '../../content/store.ts'
import { AvailableBytes } from '../../layers/available-bytes.ts'
import { whileWanted } from '../../model/concurrency.ts'
import type { Digest } from '../../model/digest.ts'
import { errorCodeOf, PurserError, toPurserError } from '../../model/errors.ts'

export interface TransfersOptions {
  content: ContentStore
  connections: Connections
  bandwidth: Bandwidth
  chunks: { sizeBytes: number; atOnce: number }
}

export interface WantBlobRequest {
  digest: Digest
  sizeBytes: number
  /** Smaller is more urgent; a transfer is as urgent as the most urgent of those who want it. */
  priority: number
  /** Where it can be had. Who names the same source, fails with it. */
  source: { name: string; open: FetchBlobRequest['open'] }
  /** Called with the bytes that are there, of the whole blob. */
  onProgress: (receivedBytes: number) => void
}

/** The data file of a blob that is on its way, for one who reads it while it grows. */
export interface Followed extends Disposable {
  path: string
  available: AvailableBytes
  /** What the file was found to be, once it was read to its end: it is not hashed again. */
  verified(digest: Digest): void
  /** It cannot be read, so that its bytes may be wrong. */
  suspect(): void
}

/** A blob that somebody waits for. Disposed, it is no longer wanted; what nobody wants is not fetched on. */
export interface WantedBlob extends AsyncDisposable {
  /** Aborts with the caller's own signal, and when the blob cannot be had. */
  readonly signal: AbortSignal
  /** Bytes of the network that came for the one who wanted it first. */
  readonly fetchedBytes: number
  /** Bytes that came for all who want it. */
  readonly arrivedBytes: number
  readonly isWaitingForSource: boolean
  /** Whether wrong bytes may be due to parts that do not belong together, so that a new transfer may bring the right ones. */
  readonly isPatchwork: boolean
  /** The first who asks, of a blob that is not there yet, may read it while it comes. @throws the signal's reason */
  follow(): Promise<Followed | undefined>
  /** Returns when the blob is in the store. @throws the signal's reason */
  stored(): Promise<void>
  /** Has it asked for anew. */
  restart(error: PurserError): void
}

/** One transfer a digest on the node, however many pulls, images and namespaces want it. */
export class Transfers {
  readonly #options: TransfersOptions
  readonly #byDigest = new Map<Digest, Transfer>()

  constructor(options: TransfersOptions) {
    this.#options = options
  }

  /** Whether it is being fetched for somebody. */
  has(digest: Digest): boolean {
    return this.#byDigest.has(digest)
  }

  /** Whether anything is being fetched, or is still being read while it was. */
  get isActive(): boolean {
    return this.#byDigest.size > 0
  }

  want(request: WantBlobRequest, signal: AbortSignal): WantedBlob {
    const { digest, sizeBytes } = request
    const known = this.#byDigest.get(digest)
    if (known?.isOpen) return known.join(request, signal)
    const transfer = new Transfer(this.#options, digest, sizeBytes, known?.ended)
    this.#byDigest.set(digest, transfer)
    void transfer.ended.then(() => {
      if (this.#byDigest.get(digest) === transfer) this.#byDigest.delete(digest)
    })
    return transfer.join(request, signal)
  }
}

class Caller {
  readonly request: WantBlobRequest
  readonly failed = new AbortController()
  constructor(request: WantBlobRequest) {
    this.request = request
  }
}

class Transfer {
  /** Never rejects. */
  readonly ended: Promise<void>
  readonly #options: TransfersOptions
  readonly #digest: Digest
  readonly #sizeBytes: number
  readonly #callers = new Set<Caller>()
  readonly #stop = new AbortController()
  readonly #available = new AvailableBytes()
  /** Its data file, or undefined when the blob turned out to be there. */
  readonly #begun = Promise.withResolvers<string | undefined>()
  readonly #stored = Promise.withResolvers<void>()
  #fetch: BlobFetch | undefined
  #earlierBytes = 0
  #following: PromiseWithResolvers<Digest | undefined> | undefined
  #isSuspect = false
  #isArrived = false
  #isOpen = true

  constructor(options: TransfersOptions, digest: Digest, sizeBytes: number, before: Promise<void> | undefined) {
    this.#options = options
    this.#digest = digest
    this.#sizeBytes = sizeBytes
    this.#begun.promise.catch(() => {})
    this.#stored.promise.catch(() => {})
    this.ended = this.#run(before)
  }

  /** Whether it can still be joined. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  join(request: WantBlobRequest, callerSignal: AbortSignal): WantedBlob {
    const caller = new Caller(request)
    const isFirst = this.#callers.size === 0
    this.#callers.add(caller)
    if (!isFirst) this.#options.connections.reconsider()
    const signal = AbortSignal.any([callerSignal, caller.failed.signal])
    const arrived = () => this.#earlierBytes + (this.#fetch?.arrivedBytes ?? 0)
    const waiting = () => this.#fetch?.isWaitingForSource ?? false
    const patchwork = () => this.#fetch?.isPatchwork ?? false
    return {
      signal,
      get fetchedBytes() {
        return isFirst ? arrived() : 0
      },
      get arrivedBytes() {
        return arrived()
      },
      get isWaitingForSource() {
        return waiting()
      },
      get isPatchwork() {
        return patchwork()
      },
      follow: async () => {
        const path = await whileWanted(this.#begun.promise, signal)
        return path === undefined || this.#following || this.#isArrived ? undefined : this.#follow(path)
      },
      stored: () => whileWanted(this.#stored.promise, signal),
      restart: (error) => this.#fetch?.restart(error),
      [Symbol.asyncDispose]: () => this.#leave(caller),
    }
  }

  async #leave(caller: Caller): Promise<void> {
    this.#callers.delete(caller)
    if (this.#callers.size > 0) return
    this.#isOpen = false
    this.#stop.abort(new PurserError('cancelled', `nobody waits for ${this.#digest} any more`))
    await this.ended
  }

  #follow(path: string): Followed {
    const following = Promise.withResolvers<Digest | undefined>()
    this.#following = following
    return {
      path,
      available: this.#available,
      verified: following.resolve,
      suspect: () => {
        this.#isSuspect = true
      },
      [Symbol.dispose]: () => following.resolve(undefined),
    }
  }

  async #run(before: Promise<void> | undefined): Promise<void> {
    await before
    try {
      if (await this.#options.content.stat(this.#digest)) this.#begun.resolve(undefined)
      else await this.#bring()
      this.#isOpen = false
      this.#stored.resolve()
    } catch (error) {
      this.#fail([...this.#callers], error)
    } finally {
      this.#isOpen = false
    }
  }

  /** From the source of one of those who want it; where that fails, those go on who have another. */
  async #bring(): Promise<void> {
    for (;;) {
      const [lead] = this.#callers
      if (!lead) throw this.#stop.signal.reason
      try {
        await this.#store(await this.#fetchFrom(lead))
        return
      } catch (error) {
        const own = [...this.#callers].filter(({ request }) => request.source.name === lead.request.source.name)
        if (this.#stop.signal.aborted || isOfTheNode(error) || own.length === this.#callers.size) throw error
        this.#fail(own, error)
        this.#earlierBytes += this.#fetch?.arrivedBytes ?? 0
      }
    }
  }

  async #fetchFrom({ request }: Caller): Promise<Ingest> {
    const { content, connections, bandwidth, chunks } = this.#options
    const fetch = new BlobFetch({
      store: content,
      digest: this.#digest,
      sizeBytes: this.#sizeBytes,
      open: request.source.open,
      signal: this.#stop.signal,
      hash: 'elsewhere',
      chunks,
      network: { connections, bandwidth, priority: () => this.#priority() },
      onProgress: (readableBytes, path) => {
        this.#available.advance(readableBytes)
        this.#begun.resolve(path)
        for (const caller of this.#callers) caller.request.onProgress(fetch.receivedBytes)
      },
    })
    this.#fetch = fetch
    try {
      return await fetch.run()
    } catch (error) {
      if (this.#isSuspect) await content.removeIngest(`layer-${this.#digest}`)
      throw error
    }
  }

  /** What follows the file knows its digest when it has read all of it; else it is hashed now. */
  async #store(fetched: Ingest): Promise<void> {
    await using ingest = fetched
    this.#isArrived = true
    const verifiedDigest = await whileWanted(
      this.#following?.promise ?? Promise.resolve(undefined),
      this.#stop.signal,
    ).catch(async (error) => {
      if (this.#isSuspect) await ingest.abort()
      throw error
    })
    await ingest.commit(verifiedDigest === undefined ? {} : { verifiedDigest })
  }

  #priority(): number {
    let most = Number.POSITIVE_INFINITY
    for (const { request } of this.#callers) most = Math.min(most, request.priority)
    return most
  }

  #fail(callers: readonly Caller[], thrown: unknown): void {
    const error = toPurserError(thrown)
    for (const caller of callers) {
      this.#callers.delete(caller)
      caller.failed.abort(error)
    }
  }
}

/** Not the source's fault: another one would not help. */
function isOfTheNode(error: unknown): boolean {
  const code = errorCodeOf(error)
  return code === 'data_loss' || code === 'resource_exhausted' || code === 'internal'
}
