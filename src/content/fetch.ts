import { setTimeout as delay } from 'node:timers/promises'
import type { Digest } from '../model/digest.ts'
import { errorCodeOf, PurserError, toPurserError } from '../model/errors.ts'
import type { Ingest } from './ingest.ts'
import type { ContentStore } from './store.ts'

/** Bytes of a blob, from `offset` on; a source that cannot begin in the middle begins at 0. */
export interface BlobBody {
  body: AsyncIterable<Uint8Array>
  offset: number
}

export interface FetchBlobRequest {
  store: ContentStore
  digest: Digest
  sizeBytes: number
  /** Opens the source; its own retries are its own affair. Errors with code `unavailable` or `deadline_exceeded` are tried again. */
  open: (offset: number, signal: AbortSignal) => Promise<BlobBody>
  signal: AbortSignal
  /** `elsewhere`: the caller hashes the data file as it grows and gives `commit` the digest. */
  hash: 'here' | 'elsewhere'
  /** Called with what can be read from the data file, from the ingest's path: at once, and after each write. */
  onProgress?: (totalBytes: number, path: string) => void
  /** `layer-<digest>` when left out, as containerd names it. */
  ref?: string
  retry?: { attemptsMax?: number; baseDelayMs?: number }
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
export async function fetchBlob(request: FetchBlobRequest): Promise<Ingest> {
  const { store, digest, sizeBytes, signal, hash, onProgress } = request
  const { attemptsMax = 5, baseDelayMs = 200 } = request.retry ?? {}
  signal.throwIfAborted()
  const ingest = await store.ingest(request.ref ?? `layer-${digest}`, { digest, sizeBytes, hash })
  try {
    onProgress?.(ingest.offsetBytes, ingest.path)
    let failures = 0
    let redeemedAt = ingest.offsetBytes
    while (ingest.offsetBytes < sizeBytes) {
      try {
        await receive(ingest, request)
      } catch (error) {
        signal.throwIfAborted()
        if (!isWorthRetrying(error)) throw error
        if (ingest.offsetBytes - redeemedAt >= REDEEMING_BYTES) {
          failures = 0
          redeemedAt = ingest.offsetBytes
        }
        failures += 1
        if (failures >= attemptsMax) throw exhausted(error, failures, ingest, request)
        await delay(baseDelayMs * 2 ** (failures - 1) * (0.5 + Math.random() / 2), undefined, { signal })
      }
    }
    return ingest
  } catch (error) {
    if (errorCodeOf(error) === 'data_loss') await ingest.abort()
    else await ingest.close()
    throw toPurserError(error)
  }
}

/** One attempt; it returns or throws with all that arrived written down. */
async function receive(
  ingest: Ingest,
  { open, digest, sizeBytes, signal, onProgress }: FetchBlobRequest,
): Promise<void> {
  const from = ingest.offsetBytes
  const { body, offset } = await open(from, signal)
  if (offset > from) {
    throw new PurserError('unavailable', `the source of ${digest} began at byte ${offset} instead of ${from}`, {
      remedy: 'try again later, or use another registry or mirror',
    })
  }
  // What is there is not written twice: others may be reading it. Were it wrong, the digest would tell.
  let toSkip = from - offset
  let arrived = from
  let gathered: Uint8Array[] = []
  let gatheredBytes = 0
  let writing: Promise<void> = Promise.resolve()
  const flush = () => {
    const chunks = gathered
    gathered = []
    gatheredBytes = 0
    return ingest.write(...chunks).then(() => onProgress?.(ingest.offsetBytes, ingest.path))
  }

  try {
    for await (const whole of body) {
      const chunk = toSkip === 0 ? whole : whole.subarray(Math.min(toSkip, whole.length))
      toSkip -= whole.length - chunk.length
      if (chunk.length === 0) continue
      arrived += chunk.length
      if (arrived > sizeBytes) throw tooMany(digest, sizeBytes)
      gathered.push(chunk)
      gatheredBytes += chunk.length
      if (gatheredBytes < WRITE_BYTES_MIN) continue
      await writing // One write runs while the next one's bytes arrive, never two.
      writing = flush()
      writing.catch(() => {}) // It is awaited before the next one, and at the end.
    }
  } finally {
    await writing
    if (gatheredBytes > 0 && arrived <= sizeBytes) await flush()
  }
  if (arrived === sizeBytes) return
  throw new PurserError('unavailable', `the source of ${digest} ended after ${arrived} of ${sizeBytes} bytes`, {
    remedy: 'try again later, or use another registry or mirror: it goes on where it ended',
  })
}

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
    `${digest}: given up after ${attempts} attempts, with ${ingest.offsetBytes} of ${sizeBytes} bytes: ${last.message}`,
    { remedy: last.remedy ?? 'try again later: it goes on where it ended', cause: last },
  )
}
