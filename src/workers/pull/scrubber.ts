import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import { z } from 'zod'
import { content } from '../../commands/content.ts'
import type { ContentStore } from '../../content/store.ts'
import type { EventLog } from '../../log/event-log.ts'
import { type Digest, splitDigest } from '../../model/digest.ts'
import type { Intake } from '../../queue/intake.ts'

export interface ScrubberOptions {
  log: EventLog
  intake: Intake
  content: ContentStore
  /** Where it keeps how far it is. */
  file: string
  bytesPerSecond: number
  /** From the end of one round to the beginning of the next. */
  everyMs: number
  logger: Logger
}

const PIECE_BYTES = 256 * 1024
/** Timers take no more. */
const WAIT_MS_MAX = 2 ** 31 - 1

const progress = z.object({
  /** Unix time in milliseconds: the end of the last round. */
  endedAtMs: z.number(),
  /** Of the round that is under way: everything up to it was read, in the order of digests. */
  after: z.string().optional(),
})
type Progress = z.output<typeof progress>

/**
 * Reads every blob from time to time, slowly, so that what has rotted is found while its registry still has it; what it finds is
 * healed by a command. Over a restart it goes on where it was.
 */
export class Scrubber implements AsyncDisposable {
  readonly #options: ScrubberOptions
  readonly #stop = new AbortController()
  readonly #running: Promise<void>

  constructor(options: ScrubberOptions) {
    this.#options = options
    this.#running = this.#run().catch((err: unknown) => {
      if (!this.#stop.signal.aborted) options.logger.error({ err }, 'blobs are not looked through any more')
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { everyMs, logger } = this.#options
    let at = await this.#load()
    for (;;) {
      if (at.after === undefined) await this.#until(at.endedAtMs + everyMs)
      const begunAt = performance.now()
      const { blobs, bytes } = await this.#round(at)
      at = { endedAtMs: Date.now() }
      await this.#save(at)
      logger.info({ blobs, bytes, durationMs: Math.round(performance.now() - begunAt) }, 'blobs were looked through')
    }
  }

  async #round({ after = '', endedAtMs }: Progress): Promise<{ blobs: number; bytes: number }> {
    const all = await Array.fromAsync(this.#options.content.list(), ({ digest }) => digest)
    let [blobs, bytes] = [0, 0]
    for (const digest of all.sort()) {
      if (digest <= after) continue
      const read = await this.#read(digest)
      if (read === undefined) continue
      blobs += 1
      bytes += read.bytes
      if (read.found !== digest) await this.#heal(digest)
      await this.#save({ endedAtMs, after: digest })
    }
    return { blobs, bytes }
  }

  /** Undefined for one that has gone meanwhile. */
  async #read(digest: Digest): Promise<{ found: Digest; bytes: number } | undefined> {
    const { content: store, bytesPerSecond } = this.#options
    const { algorithm } = splitDigest(digest)
    const hash = createHash(algorithm)
    let bytes = 0
    const begunAt = performance.now()
    try {
      for await (const piece of createReadStream(store.path(digest), { highWaterMark: PIECE_BYTES })) {
        hash.update(piece)
        bytes += piece.length
        const aheadMs = (bytes / bytesPerSecond) * 1000 - (performance.now() - begunAt)
        if (aheadMs > 0) await delay(aheadMs, undefined, { signal: this.#stop.signal, ref: false })
      }
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
      // A block that cannot be read any more is no better than one that has changed.
      if (!(error instanceof Error && 'code' in error && error.code === 'EIO')) throw error
    }
    return { found: `${algorithm}:${hash.digest('hex')}`, bytes }
  }

  async #heal(digest: Digest): Promise<void> {
    const { log, intake, logger } = this.#options
    for (const { id, namespace } of log.documents.list(content)) {
      if (id !== digest) continue
      logger.warn({ digest, namespace }, 'a blob is not what its digest says')
      const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(WAIT_MS_MAX)])
      await intake
        .execute({ type: 'content.heal', subject: digest, namespace }, { actor: 'purser:scrub' }, signal)
        .catch((err: unknown) => {
          this.#stop.signal.throwIfAborted()
          logger.warn({ err, digest, namespace }, 'it could not be healed')
        })
    }
  }

  async #until(timeMs: number): Promise<void> {
    for (let leftMs = timeMs - Date.now(); leftMs > 0; leftMs = timeMs - Date.now()) {
      await delay(Math.min(leftMs, WAIT_MS_MAX), undefined, { signal: this.#stop.signal, ref: false })
    }
  }

  /** Of a node that has never done so, now: it was written a moment ago. */
  async #load(): Promise<Progress> {
    const text = await readFile(this.#options.file, 'utf8').catch(() => '')
    const known = progress.safeParse(text === '' ? undefined : safeJson(text))
    if (known.success) return known.data
    const fresh = { endedAtMs: Date.now() }
    await this.#save(fresh)
    return fresh
  }

  async #save(at: Progress): Promise<void> {
    const { file } = this.#options
    await writeFile(`${file}.new`, JSON.stringify(at), { mode: 0o600 })
    await rename(`${file}.new`, file)
  }
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
