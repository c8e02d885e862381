import { setTimeout as delay } from 'node:timers/promises'
import type { Digest } from '../model/digest.ts'
import { errorCodeOf, PurserError, toPurserError } from '../model/errors.ts'
import type { Bandwidth } from './bandwidth.ts'
import type { ByteRange } from './byte-ranges.ts'
import type { Connection, Connections, Priority } from './connections.ts'
import type { Ingest } from './ingest.ts'
import type { ContentStore } from './store.ts'

/** Bytes of a blob, from `offset` on; a source that cannot begin in the middle begins at 0. */
export interface BlobBody {
  body: AsyncIterable<Uint8Array>
  offset: number
  /** Whether the source has sent the part that was asked for: then others may be had at the same time. */
  partial?: boolean
  /** The source's name for these bytes, and the source that it is the name at. */
  etag?: string
  host?: string
}

export interface FetchBlobRequest {
  store: ContentStore
  digest: Digest
  sizeBytes: number
  /** Opens the source; its own retries are its own affair. Errors with code `unavailable` or `deadline_exceeded` are tried again. */
  open: (range: { offset: number; endBytes?: number }, signal: AbortSignal) => Promise<BlobBody>
  signal: AbortSignal
  /** `elsewhere`: the caller hashes the data file as it grows and gives `commit` the digest. Needed for chunks. */
  hash: 'here' | 'elsewhere'
  /** Called with what can be read from the data file from its beginning, and its path: at once, and after each write. */
  onProgress?: (totalBytes: number, path: string) => void
  /** `layer-<digest>` when left out, as containerd names it. */
  ref?: string
  retry?: { attemptsMax?: number; baseDelayMs?: number }
  /** A blob of at least two chunks is fetched in chunks, so many at once, where its source sends parts. */
  chunks?: { sizeBytes: number; atOnce: number }
  /** What it shares with all the others of the node. */
  network?: { connections: Connections; bandwidth: Bandwidth; priority: Priority }
}

// Few large writes: the event loop pays per call, and the worker that follows the file per message.
const WRITE_BYTES_MIN = 512 * 1024
/** Progress that makes up for a failed attempt: less of it could go on for ever, a byte at a time. */
const REDEEMING_BYTES = 4 * 1024 * 1024

/**
 * Brings a blob into an ingest, going on where an earlier attempt ended, in this process or before.
 *
 * @returns the ingest, open, with all of its bytes: commit or close it
 * @throws PurserError data_loss when the source has more bytes than `sizeBytes`;
 *   unavailable when it breaks off or ends early again and again; else whatever the source or the disk said. What was written stays, to
 *   be resumed, unless it is known to be wrong.
 */
export const fetchBlob = (request: FetchBlobRequest): Promise<Ingest> => new BlobFetch(request).run()

/** One transfer of a blob, over as many requests as it takes. */
export class BlobFetch {
  readonly #request: FetchBlobRequest
  readonly #stop = new AbortController()
  readonly #signal: AbortSignal
  /** What requests that are under way will bring. */
  readonly #underWay = new Set<ByteRange>()
  readonly #requests = new Set<AbortController>()
  readonly #lanes: Promise<void>[] = []
  readonly #etags = new Map<string, string>()
  #ingest: Ingest | undefined
  #sendsParts = true
  #heldUp = 0
  #failures = 0
  #redeemedAt = 0
  #resumedBytes = 0
  #arrivedBytes = 0
  #answers = 0

  constructor(request: FetchBlobRequest) {
    this.#request = request
    this.#signal = AbortSignal.any([request.signal, this.#stop.signal])
  }

  /** Bytes that are written down, however they came. */
  get receivedBytes(): number {
    return this.#ingest?.receivedBytes ?? 0
  }

  /** Bytes that this transfer has asked for and got. */
  get arrivedBytes(): number {
    return this.#arrivedBytes
  }

  /** Whether what is there came by more than one answer, so that it could be of more than one file. */
  get isPatchwork(): boolean {
    return this.#answers + (this.#resumedBytes > 0 ? 1 : 0) > 1
  }

  /** Whether it is the source that bytes are waited for, and not the disk, a bound or another transfer. */
  get isWaitingForSource(): boolean {
    return this.#requests.size > this.#heldUp
  }

  /** Ends the requests that are under way with an error that counts as a failed attempt: the next ones go on from there. */
  restart(error: PurserError): void {
    for (const each of this.#requests) each.abort(error)
  }

  /** @see fetchBlob */
  async run(): Promise<Ingest> {
    const { store, digest, sizeBytes, signal, hash, onProgress, ref } = this.#request
    signal.throwIfAborted()
    const ingest = await store.ingest(ref ?? `layer-${digest}`, { digest, sizeBytes, hash })
    this.#ingest = ingest
    try {
      this.#resumedBytes = ingest.receivedBytes
      this.#redeemedAt = ingest.receivedBytes
      onProgress?.(ingest.offsetBytes, ingest.path)
      this.#addLane(ingest)
      // A lane may add others while it is waited for.
      for (let at = 0; at < this.#lanes.length; at++) await this.#lanes[at]
      return ingest
    } catch (error) {
      this.#stop.abort(error)
      await Promise.allSettled(this.#lanes)
      if (errorCodeOf(error) === 'data_loss') await ingest.abort()
      else await ingest.close()
      signal.throwIfAborted()
      throw toPurserError(error)
    }
  }

  #addLane(ingest: Ingest): void {
    const lane = this.#lane(ingest, this.#lanes.length)
    this.#lanes.push(lane)
    lane.catch((error) => this.#stop.abort(error)) // Awaited by `run` as well.
  }

  /** Fetches one part after the other, until none is missing that another lane does not fetch. */
  async #lane(ingest: Ingest, index: number): Promise<void> {
    const { attemptsMax = 5, baseDelayMs = 200 } = this.#request.retry ?? {}
    for (let part = this.#nextPart(ingest); part; part = this.#nextPart(ingest)) {
      this.#underWay.add(part)
      try {
        await this.#attempt(ingest, part, index)
      } catch (error) {
        this.#signal.throwIfAborted()
        if (error === YIELDED) continue
        if (!isWorthRetrying(error)) throw error
        if (ingest.receivedBytes - this.#redeemedAt >= REDEEMING_BYTES) {
          this.#failures = 0
          this.#redeemedAt = ingest.receivedBytes
        }
        this.#failures += 1
        if (this.#failures >= attemptsMax) throw exhausted(error, this.#failures, ingest, this.#request)
        const delayMs = baseDelayMs * 2 ** (this.#failures - 1) * (0.5 + Math.random() / 2)
        this.#underWay.delete(part)
        await delay(delayMs, undefined, { signal: this.#signal })
      } finally {
        this.#underWay.delete(part)
      }
    }
  }

  #nextPart(ingest: Ingest): ByteRange | undefined {
    const { sizeBytes, chunks } = this.#request
    const gap = ingest.firstGap(sizeBytes, this.#underWay)
    if (!gap || !chunks || !this.#isChunked()) return gap
    return { start: gap.start, end: Math.min(gap.end, gap.start + chunks.sizeBytes) }
  }

  #isChunked(): boolean {
    const { sizeBytes, chunks, hash } = this.#request
    if (!this.#sendsParts || hash !== 'elsewhere' || chunks === undefined || chunks.atOnce === 1) return false
    return sizeBytes >= 2 * chunks.sizeBytes
  }

  /** One request; it returns or throws with all that arrived written down. */
  async #attempt(ingest: Ingest, part: ByteRange, lane: number): Promise<void> {
    using connection = await this.#connect(lane)
    const ended = new AbortController()
    const signals = [this.#signal, ended.signal, ...(connection ? [connection.wanted] : [])]
    this.#requests.add(ended)
    try {
      await this.#receive(ingest, part, AbortSignal.any(signals))
    } catch (error) {
      this.#signal.throwIfAborted()
      throw connection?.wanted.aborted ? YIELDED : error
    } finally {
      this.#requests.delete(ended)
    }
  }

  async #connect(lane: number): Promise<Connection | undefined> {
    const { network } = this.#request
    if (!network) return undefined
    // What makes one blob faster comes after what others need to get on at all.
    const priority = () => network.priority() + (lane === 0 ? 0 : 0.5)
    return await network.connections.acquire(priority, this.#signal)
  }

  async #receive(ingest: Ingest, part: ByteRange, signal: AbortSignal): Promise<void> {
    const { digest, sizeBytes, network } = this.#request
    const { start } = part
    const range = { offset: start, ...(part.end < sizeBytes ? { endBytes: part.end } : {}) }
    const opened = await this.#heldUpBy(this.#request.open(range, signal))
    this.#accept(ingest, opened, part)
    // What is there is not written twice: others may be reading it. Were it wrong, the digest would tell.
    let toSkip = start - opened.offset
    const writer = new PartWriter(ingest, start, () => {
      this.#request.onProgress?.(ingest.offsetBytes, ingest.path)
    })
    try {
      for await (const whole of opened.body) {
        this.#arrivedBytes += whole.length
        const paying = network?.bandwidth.take(whole.length, network.priority, signal)
        if (paying) await this.#heldUpBy(paying)
        const chunk = toSkip === 0 ? whole : whole.subarray(Math.min(toSkip, whole.length))
        toSkip -= whole.length - chunk.length
        if (writer.arrivedAt + chunk.length > part.end) {
          if (part.end === sizeBytes) throw tooMany(digest, sizeBytes)
          await writer.take(chunk.subarray(0, part.end - writer.arrivedAt))
          break
        }
        const writing = writer.take(chunk)
        if (writing) await this.#heldUpBy(writing)
      }
    } finally {
      await this.#heldUpBy(writer.end())
    }
    if (writer.arrivedAt === part.end) return
    throw new PurserError(
      'unavailable',
      `the source of ${digest} ended after ${writer.arrivedAt} of ${sizeBytes} bytes`,
      { remedy: 'try again later, or use another registry or mirror: it goes on where it ended' },
    )
  }

  /** What the answer means for this part and for others. */
  #accept(ingest: Ingest, { offset, partial, etag, host = '' }: BlobBody, part: ByteRange): void {
    const { digest, sizeBytes, chunks } = this.#request
    if (offset > part.start) {
      throw new PurserError('unavailable', `the source of ${digest} began at byte ${offset} instead of ${part.start}`, {
        remedy: 'try again later, or use another registry or mirror',
      })
    }
    const known = this.#etags.get(host)
    if (etag !== undefined && known !== undefined && etag !== known) {
      throw new PurserError('data_loss', `${host} has replaced ${digest} while it was being fetched`, {
        remedy: 'pull again',
      })
    }
    if (etag !== undefined) this.#etags.set(host, etag)
    this.#answers += 1
    if (partial === false && this.#isChunked()) {
      // It sends all of it, whatever it is asked for: so nothing else needs to be.
      this.#sendsParts = false
      part.end = sizeBytes
    }
    if (!chunks || !this.#isChunked() || partial !== true) return
    while (this.#lanes.length < chunks.atOnce && this.#nextPart(ingest)) this.#addLane(ingest)
  }

  /** Whatever is waited for here, it is not bytes of an open source. */
  async #heldUpBy<T>(wait: Promise<T>): Promise<T> {
    this.#heldUp += 1
    try {
      return await wait
    } finally {
      this.#heldUp -= 1
    }
  }
}

/** Gathers what arrives of a part into large writes, of which one runs while the next one's bytes arrive. */
class PartWriter {
  readonly #ingest: Ingest
  readonly #onWritten: () => void
  #arrivedAt: number
  #writtenAt: number
  #gathered: Uint8Array[] = []
  #writing: Promise<void> | undefined

  constructor(ingest: Ingest, start: number, onWritten: () => void) {
    this.#ingest = ingest
    this.#arrivedAt = start
    this.#writtenAt = start
    this.#onWritten = onWritten
  }

  /** Where the next byte belongs. */
  get arrivedAt(): number {
    return this.#arrivedAt
  }

  /** @returns what has to be waited for before more is taken */
  take(chunk: Uint8Array): Promise<void> | undefined {
    if (chunk.length === 0) return undefined
    this.#gathered.push(chunk)
    this.#arrivedAt += chunk.length
    if (this.#arrivedAt - this.#writtenAt < WRITE_BYTES_MIN) return undefined
    if (this.#writing) return this.#writing.then(() => this.#flush())
    this.#flush()
    return undefined
  }

  /** Writes down the rest. */
  async end(): Promise<void> {
    await this.#writing
    if (this.#gathered.length > 0) this.#flush()
    await this.#writing
  }

  #flush(): void {
    const chunks = this.#gathered
    const position = this.#writtenAt
    this.#gathered = []
    this.#writtenAt = this.#arrivedAt
    const writing = this.#ingest.writeAt(position, chunks).then(() => {
      if (this.#writing === writing) this.#writing = undefined
      this.#onWritten()
    })
    this.#writing = writing
    writing.catch(() => {}) // Awaited before the next one, and at the end.
  }
}

/** Why a request was ended for one that is more urgent. */
const YIELDED = new Error('gave its connection to another transfer')

function tooMany(digest: Digest, sizeBytes: number): PurserError {
  return new PurserError('data_loss', `the source of ${digest} sends more than its ${sizeBytes} bytes`, {
    remedy: 'the registry or a mirror is at fault: try another one, or push the image again',
  })
}

function isWorthRetrying(error: unknown): error is PurserError {
  const code = errorCodeOf(error)
  return code === 'unavailable' || code === 'deadline_exceeded'
}

function exhausted(last: PurserError, attempts: number, ingest: Ingest, { digest, sizeBytes }: FetchBlobRequest) {
  return new PurserError(
    'unavailable',
    `${digest}: given up after ${attempts} attempts, with ${ingest.receivedBytes} of ${sizeBytes} bytes: ${last.message}`,
    { remedy: last.remedy ?? 'try again later: it goes on where it ended', cause: last },
  )
}
