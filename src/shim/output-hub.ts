import type { Readable } from 'node:stream'
import { whileWanted } from '../model/concurrency.ts'
import type { LogFile } from './log-file.ts'
import type { LogEntry } from './log-format.ts'
import { loggedSince, type Mark, type MarkFile } from './log-mark.ts'
import { type LogHold, readLogBlocks } from './log-reader.ts'
import type { LogPosition } from './log-segments.ts'
import type { Spool } from './spool.ts'

export interface OutputChunk {
  stream: 'stdout' | 'stderr'
  data: Buffer
  /** Where what comes next begins, when there is a log. */
  end?: LogPosition
}

export interface SubscribeOptions {
  /** Of what came before: `all` that is kept, `none` of it, or from a position on, where there is a log. */
  replay: 'all' | 'none' | LogPosition
  signal: AbortSignal
}

/** What a running process writes, for any number of subscribers. */
export interface OutputHub {
  /** Ends with the output. Its consumer sets the pace of nobody else's, and leaves when it likes. */
  subscribe(options: SubscribeOptions): AsyncGenerator<OutputChunk, void, void>
  /** Fulfilled when both streams have ended and, where there is a log, all is in its file. Never rejected. */
  readonly ended: Promise<void>
  /** Stops reading, and leaves process and streams to whoever comes next. */
  detach(): Promise<void>
}

/** The streams of a process; a terminal has no stderr. */
export interface OutputSources {
  stdout: Readable
  stderr?: Readable | undefined
}

/** The same, on their way to a log; {@link LoggedOutput} closes all of it. */
export interface SpooledSources {
  stdout: Spool
  stderr?: Spool | undefined
  mark: MarkFile
}

/** Output between two marks: so much is read of the log, at most, by who comes after a killed process. */
const UNMARKED_BYTES_MAX = 16 * 1024

/**
 * The output of a process that has a log. Subscribers follow the log file, so that memory is bounded whatever their
 * number and pace, replay and live are one sequence, and none holds up the process.
 *
 * Whenever this process is killed, each byte is in the pipe, in its spool, or in the log. What of the spool is in the log, the
 * log itself tells, from the last mark on: who comes next goes on behind it, and no byte is lost or doubled.
 */
export class LoggedOutput implements OutputHub {
  readonly ended: Promise<void>
  readonly #sources: SpooledSources
  readonly #log: LogFile
  readonly #passing: (chunk: Buffer) => Buffer
  readonly #detached = Promise.withResolvers<void>()
  #marked: Mark
  #hold: LogHold | undefined

  /**
   * @param log closed by this hub, when the output has ended or at {@link detach}
   * @param passing what of a chunk is kept, which is how it begins; all by default
   */
  constructor(sources: SpooledSources, log: LogFile, passing: (chunk: Buffer) => Buffer = (chunk) => chunk) {
    this.#sources = sources
    this.#log = log
    this.#passing = passing
    this.#marked = sources.mark.before ?? { stdout: 0, stderr: 0, position: log.position }
    this.ended = this.#run()
  }

  async *subscribe({ replay, signal }: SubscribeOptions): AsyncGenerator<OutputChunk, void, void> {
    const from = replay === 'none' ? this.#log.position : replay
    if (from !== 'all') yield { stream: 'stdout', data: Buffer.alloc(0), end: from }
    const begin = from === 'all' ? {} : { from }
    const following = { signal, follow: this.#log, unread: 'stays', ...begin } as const
    for await (const entries of readLogBlocks(this.#log.path, following)) {
      yield* joined(entries)
    }
  }

  async detach(): Promise<void> {
    this.#sources.stdout.stop()
    this.#sources.stderr?.stop()
    this.#detached.resolve()
    await this.ended
  }

  async #run(): Promise<void> {
    const { stdout, stderr, mark } = this.#sources
    try {
      await this.#goOn()
      this.#hold = this.#log.hold(this.#marked.position.id)
      this.#mark()
      await Promise.all([this.#write('stdout', stdout), ...(stderr ? [this.#write('stderr', stderr)] : [])])
      this.#mark()
    } catch {
      // Its files are gone, as those of a container that was removed: nobody is left to read the rest.
    } finally {
      for (const each of [stdout, mark, ...(stderr ? [stderr] : [])]) each[Symbol.dispose]()
      await this.#log.close()
    }
  }

  /** Behind what an earlier process has written to the log. */
  async #goOn(): Promise<void> {
    const { stdout, stderr, mark } = this.#sources
    if (mark.before === undefined) return
    const logged = await loggedSince(mark.before, this.#log.path).catch(() => this.#marked) // Rather twice than never.
    stdout.skipTo(logged.stdout)
    stderr?.skipTo(logged.stderr)
  }

  async #write(stream: 'stdout' | 'stderr', spool: Spool): Promise<void> {
    const log = this.#log
    for (;;) {
      for (let chunk = spool.take(); chunk.length > 0; chunk = spool.take()) {
        const data = this.#passing(chunk)
        const mayGoOn = data.length === 0 || log.append(stream, data)
        await log.written()
        if (this.#isMarkDue() || data.length < chunk.length) this.#mark()
        if (!mayGoOn) await Promise.race([log.drained(), this.#detached.promise])
      }
      if (spool.hasEnded) return
      await spool.filled()
    }
  }

  #isMarkDue(): boolean {
    const { stdout, stderr } = this.#sources
    const unmarked = stdout.takenBytes - this.#marked.stdout + (stderr?.takenBytes ?? 0) - this.#marked.stderr
    return unmarked >= UNMARKED_BYTES_MAX || this.#log.position.id !== this.#marked.position.id
  }

  /** Notes that all that was taken is in the log, unless something of it is on its way. */
  #mark(): void {
    const { stdout, stderr, mark } = this.#sources
    if (!this.#log.isWritten) return
    const next = { stdout: stdout.takenBytes, stderr: stderr?.takenBytes ?? 0, position: this.#log.position }
    try {
      mark.write(next)
    } catch {
      return // A full disk: the mark that there is is as good, only older.
    }
    this.#marked = next
    this.#hold?.moveTo(this.#marked.position.id)
    stdout.free()
    stderr?.free()
  }
}

/** Entries as chunks, one for each run of a stream. */
export function* joined(entries: readonly LogEntry[]): Generator<OutputChunk, void, void> {
  for (let from = 0; from < entries.length; ) {
    const stream = entries[from]?.stream ?? 'stdout'
    const end = entries.findIndex((entry, at) => at > from && entry.stream !== stream)
    const run = entries.slice(from, end < 0 ? entries.length : end)
    const last = run.at(-1)
    yield { stream, data: Buffer.concat(run.map(({ data }) => data)), ...(last === undefined ? {} : { end: last.end }) }
    from += run.length
  }
}

/** What is kept for a subscriber before the process has to wait. */
const UNREAD_BYTES_MAX = 1024 * 1024

/**
 * The output of a process without a log. Until the first subscriber comes, and for the slowest one, a bounded part is
 * kept and then the process waits; when all subscribers have left, the output is read and dropped.
 */
export class DirectOutput implements OutputHub {
  readonly ended: Promise<void>
  /** Beyond the limit, so far. */
  droppedBytes = 0
  /** Fulfilled when there has been a subscriber. */
  readonly subscribed: Promise<void>
  readonly #pump: Pump
  readonly #readers = new Set<Mailbox>()
  #subscribe = () => {}
  /** What came before the first subscriber, who takes it over. */
  #early: Mailbox | undefined

  /** @param bytesMax that are handed on; what comes after them is read and dropped */
  constructor(sources: OutputSources, bytesMax = Number.POSITIVE_INFINITY) {
    this.subscribed = new Promise((resolve) => {
      this.#subscribe = resolve
    })
    this.#early = new Mailbox()
    this.#readers.add(this.#early)
    let leftBytes = bytesMax
    this.#pump = new Pump(sources, (stream, chunk) => {
      const data = chunk.length <= leftBytes ? chunk : chunk.subarray(0, leftBytes)
      leftBytes -= data.length
      this.droppedBytes += chunk.length - data.length
      if (data.length > 0) for (const reader of this.#readers) reader.put({ stream, data })
      return this.#room()
    })
    this.ended = this.#pump.ended
    void this.ended.then(() => {
      for (const reader of this.#readers) reader.end()
    })
  }

  subscribe({ replay, signal }: SubscribeOptions): AsyncGenerator<OutputChunk, void, void> {
    this.#subscribe()
    const early = this.#early
    this.#early = undefined
    if (early && replay === 'none') {
      this.#readers.delete(early)
      early.leave()
    }
    const reader = early && replay !== 'none' ? early : new Mailbox()
    if (this.#pump.hasEnded) reader.end()
    else this.#readers.add(reader)
    return this.#read(reader, signal)
  }

  async detach(): Promise<void> {
    this.#pump.stop()
    await this.ended
  }

  async *#read(reader: Mailbox, signal: AbortSignal): AsyncGenerator<OutputChunk, void, void> {
    try {
      for (;;) {
        const chunk = await reader.take(signal)
        if (!chunk) return
        yield chunk
      }
    } finally {
      this.#readers.delete(reader)
      reader.leave()
    }
  }

  /** Undefined when there is room for more, else fulfilled when there is. */
  #room(): Promise<unknown> | undefined {
    const full = [...this.#readers].filter((reader) => reader.bytes >= UNREAD_BYTES_MAX)
    return full.length === 0 ? undefined : Promise.all(full.map((reader) => reader.hasRoom()))
  }
}

/** Reads both streams to their ends, and waits where the receiver asks for it. */
class Pump {
  readonly ended: Promise<void>
  hasEnded = false
  readonly #sources: Readable[]
  #waiting = false

  constructor(
    { stdout, stderr }: OutputSources,
    receive: (stream: 'stdout' | 'stderr', data: Buffer) => Promise<unknown> | undefined,
  ) {
    this.#sources = stderr ? [stdout, stderr] : [stdout]
    const read = (source: Readable, stream: 'stdout' | 'stderr'): Promise<void> => {
      source.on('data', (data: Buffer) => {
        const room = receive(stream, data)
        if (!room || this.#waiting) return
        this.#waiting = true
        for (const each of this.#sources) each.pause()
        void room.then(() => {
          this.#waiting = false
          for (const each of this.#sources) each.resume()
        })
      })
      // A reading end that fails has nothing more to give: what came is kept, and the rest of the hub ends normally.
      source.on('error', () => source.destroy())
      if (source.closed) return Promise.resolve()
      return new Promise((resolve) => source.once('close', () => resolve()))
    }
    const ends = [read(stdout, 'stdout'), ...(stderr ? [read(stderr, 'stderr')] : [])]
    this.ended = Promise.all(ends).then(() => {
      this.hasEnded = true
    })
  }

  stop(): void {
    for (const source of this.#sources) source.destroy()
  }
}

/** Chunks on their way to one subscriber. */
class Mailbox {
  bytes = 0
  readonly #chunks: OutputChunk[] = []
  #isEnded = false
  #changed = Promise.withResolvers<void>()

  put(chunk: OutputChunk): void {
    this.#chunks.push(chunk)
    this.bytes += chunk.data.length
    this.#announce()
  }

  end(): void {
    this.#isEnded = true
    this.#announce()
  }

  /** Its subscriber is gone: nobody shall wait for it. */
  leave(): void {
    this.#chunks.length = 0
    this.bytes = 0
    this.end()
  }

  async hasRoom(): Promise<void> {
    while (this.bytes >= UNREAD_BYTES_MAX) await this.#changed.promise
  }

  /** The next chunk; undefined at the end. */
  async take(signal: AbortSignal): Promise<OutputChunk | undefined> {
    for (;;) {
      signal.throwIfAborted()
      const chunk = this.#chunks.shift()
      if (chunk) {
        this.bytes -= chunk.data.length
        this.#announce()
        return chunk
      }
      if (this.#isEnded) return undefined
      await whileWanted(this.#changed.promise, signal)
    }
  }

  #announce(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers<void>()
  }
}
