import { createHash } from 'node:crypto'
import { closeSync, openSync, readSync } from 'node:fs'
import { PurserError } from '../model/errors.ts'
import { AvailableBytesReader } from './available-bytes.ts'
import { type Decoder, detectCompression, MAGIC_BYTES } from './compression.ts'
import { createDecoder } from './inflate.ts'
import { overLimit } from './limits.ts'
import { JobControl, type LayerJob, type LayerResult, type NeedsParentsReason } from './protocol.ts'
import { TarReader, type TarSink } from './tar/reader.ts'
import { NeedsParents, TreeWriter } from './tree-writer.ts'

const INPUT_BYTES = 128 * 1024

/** One per thread, for one job at a time. */
const input = Buffer.allocUnsafeSlow(INPUT_BYTES)

/**
 * Reads a layer once, from the compressed file to the files on disk, and hashes it on both sides of the decoder.
 * Synchronous throughout: it blocks its thread, also while it waits for a file that is still growing.
 *
 * @throws PurserError data_loss for wrong bytes, resource_exhausted beyond a limit, cancelled
 */
export function extractLayer(job: LayerJob): LayerResult {
  const control = new JobControl(job.control)
  using writer = job.target === undefined ? undefined : new TreeWriter(job.target, job.whiteouts, job.limits.devices)
  const tar = new TarPipe(job, control, writer)
  const digest = readCompressed(job, control, (piece) => tar.write(piece))
  const diffId = tar.end()
  return {
    digest: `${job.algorithm}:${digest ?? diffId}`,
    diffId: `sha256:${diffId}`,
    sizeBytes: job.sizeBytes,
    tarBytes: tar.bytes,
    entries: tar.entries,
    unpackedBytes: writer?.unpackedBytes ?? 0,
    implicitParents: [...(writer?.implicitParents ?? [])],
    whiteouts: [...(writer?.whiteoutsMade ?? [])],
    ...(tar.needsParents ? { needsParents: tar.needsParents } : {}),
    skippedXattrs: [...(writer?.xattrs.skipped ?? [])],
  }
}

/** The side after the decoder: hash, limits, tar. */
class TarPipe {
  bytes = 0
  needsParents: NeedsParentsReason | undefined
  readonly #hash = createHash('sha256')
  readonly #job: LayerJob
  readonly #control: JobControl
  readonly #writer: TreeWriter | undefined
  readonly #reader: TarReader | undefined

  constructor(job: LayerJob, control: JobControl, writer: TreeWriter | undefined) {
    this.#job = job
    this.#control = control
    this.#writer = writer
    this.#reader = writer && new TarReader(this.#sink(writer), job.limits)
  }

  get entries(): number {
    return this.#reader?.entries ?? 0
  }

  write(piece: Buffer): void {
    this.bytes += piece.length
    const { tarBytesMax, ratioMax, ratioFromBytes } = this.#job.limits
    if (this.bytes > tarBytesMax) throw overLimit(`more than ${tarBytesMax} bytes`, 'tarBytesMax', tarBytesMax)
    if (this.bytes > ratioFromBytes && this.bytes > this.#job.sizeBytes * ratioMax) {
      throw overLimit(`more than ${ratioMax} bytes for each compressed one`, 'ratioMax', ratioMax)
    }
    this.#control.waitForRoom(this.bytes)
    this.#hash.update(piece)
    this.#reader?.write(piece)
    this.#control.report(this.bytes, this.entries)
    if (this.#control.isCancelled()) throw cancelled()
  }

  end(): string {
    this.#reader?.end()
    if (!this.needsParents) this.#writer?.finish()
    return this.#hash.digest('hex')
  }

  /** The writer, until it finds that the layer needs its parents; from then on only the hashes matter. */
  #sink(writer: TreeWriter): TarSink {
    const unlessStopped = (call: () => void) => {
      if (this.needsParents) return
      try {
        call()
      } catch (error) {
        if (!(error instanceof NeedsParents)) throw error
        this.needsParents = error.reason
      }
    }
    return {
      entry: (entry) => unlessStopped(() => writer.entry(entry)),
      data: (piece, position) => {
        if (!this.needsParents) writer.data(piece, position)
      },
      entryEnd: () => {
        if (!this.needsParents) writer.entryEnd()
      },
    }
  }
}

/** @returns hex digest of the file, or undefined when it is that of the tar: nothing was compressed */
function readCompressed(job: LayerJob, control: JobControl, output: (piece: Buffer) => void): string | undefined {
  const { sizeBytes } = job
  const available = job.available && new AvailableBytesReader(job.available)
  const fd = openSync(job.path, 'r')
  let decoder: Decoder | undefined
  try {
    const hash = createHash(job.algorithm)
    let isHashNeeded = true
    for (let at = 0; at < sizeBytes; ) {
      const wanted = decoder ? at : Math.min(MAGIC_BYTES, sizeBytes) - 1
      const there = available ? available.waitBeyond(wanted, control) : sizeBytes
      if (there === undefined || control.isCancelled()) throw cancelled()
      const length = readSync(fd, input, 0, Math.min(INPUT_BYTES, there - at, sizeBytes - at), at)
      if (length === 0) throw tooShort(job, at)
      const piece = input.subarray(0, length)
      if (!decoder) {
        const compression = detectCompression(piece)
        decoder = createDecoder(compression, output)
        isHashNeeded = compression !== 'none' || job.algorithm !== 'sha256'
      }
      if (isHashNeeded) hash.update(piece)
      decoder.write(piece)
      at += length
    }
    decoder?.end()
    return isHashNeeded ? hash.digest('hex') : undefined
  } finally {
    decoder?.[Symbol.dispose]()
    closeSync(fd)
  }
}

const cancelled = () => new PurserError('cancelled', 'the extraction was cancelled')

const tooShort = ({ path, sizeBytes }: LayerJob, atByte: number) =>
  new PurserError('data_loss', `the layer file ${path} ends at byte ${atByte} of ${sizeBytes}`, {
    remedy: 'pull the image again',
  })
