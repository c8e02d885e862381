import { readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { PurserError } from '../model/errors.ts'
import { openCheckpoint, signCheckpoint } from './checkpoint.ts'
import {
  type ArchivePaths,
  archivePaths,
  type Dropped,
  listSegments,
  prepareArchive,
  readDropped,
  type SegmentFile,
  segmentName,
  writeDropped,
  writeDurably,
} from './directory.ts'
import { linesOf } from './lines.ts'
import { Frontier, leafHash, rootOf } from './merkle.ts'
import { formatVerifier, type Signer, verifierOf } from './note.ts'
import { encodeSegment, LEAF_PREFIX_BYTES, readFooter, readSegment } from './segment.ts'
import { TILE_LEAVES, TreeFile } from './tree-file.ts'

/** An event to be sealed. */
export interface Entry {
  /** Its line, without a newline. */
  line: string
  /** RFC 3339. */
  time: string
}

/**
 * The sealed part of a log: segments on disk, of which only the one that is written is ever in memory. One process writes;
 * a segment is there as a whole, once its file has its name.
 */
export class Archive implements AsyncDisposable {
  readonly paths: ArchivePaths
  readonly #signer: Signer
  readonly #tree: TreeFile
  #segments: SegmentFile[] = []
  #dropped: Dropped = { through: 0, leaves: [] }
  #tiles = new Frontier()
  /** Leaf hashes since the last complete tile. */
  #partial: Buffer[] = []

  private constructor(paths: ArchivePaths, signer: Signer, tree: TreeFile) {
    this.paths = paths
    this.#signer = signer
    this.#tree = tree
  }

  /**
   * @throws PurserError data_loss when segments are missing or the last one is damaged
   */
  static async open(dir: string, signer: Signer): Promise<Archive> {
    const paths = archivePaths(dir)
    await prepareArchive(paths)
    const archive = new Archive(paths, signer, await TreeFile.open(paths.tree, 'write'))
    try {
      await archive.#load()
    } catch (error) {
      await archive.#tree[Symbol.asyncDispose]()
      throw error
    }
    return archive
  }

  /** Position of the last sealed event; 0 when there is none. */
  get last(): number {
    return this.#segments.at(-1)?.last ?? this.#dropped.through
  }

  /** Position of the first event that is still held. */
  get first(): number {
    return this.#dropped.through + 1
  }

  get segments(): readonly SegmentFile[] {
    return this.#segments
  }

  /** The signed head. */
  get checkpoint(): string {
    const { name } = this.#signer
    return signCheckpoint({ origin: name, size: this.last, root: this.#root() }, this.#signer)
  }

  async bytes(): Promise<number> {
    const sizes = await Promise.all(this.#segments.map(async ({ path }) => (await stat(path)).size))
    return sizes.reduce((sum, size) => sum + size, 0)
  }

  /**
   * Writes one segment, of the events that follow the last one. Durable on return; when it throws, nothing was sealed.
   */
  async seal(entries: readonly Entry[]): Promise<SegmentFile> {
    const [begin, end] = [entries[0], entries.at(-1)]
    if (!begin || !end) throw new PurserError('invalid_argument', 'there is nothing to seal')
    const first = this.last + 1
    const last = this.last + entries.length
    const leaves = entries.map(({ line }) => leafHash(line))
    const partial = [...this.#partial, ...leaves]
    const complete = partial.length - (partial.length % TILE_LEAVES)
    const tiles: Buffer[] = []
    for (let at = 0; at < complete; at += TILE_LEAVES) tiles.push(rootOf(partial.slice(at, at + TILE_LEAVES)))
    const rest = partial.slice(complete)
    const frontier = this.#tiles.clone()
    for (const tile of tiles) frontier.add(tile)

    const root = rootWith(frontier, rest)
    const checkpoint = signCheckpoint({ origin: this.#signer.name, size: last, root }, this.#signer)
    const prefixes = Buffer.concat(leaves.map((leaf) => leaf.subarray(0, LEAF_PREFIX_BYTES)))
    const footer = { first, last, firstTime: begin.time, lastTime: end.time, checkpoint }
    const ndjson = Buffer.from(`${entries.map(({ line }) => line).join('\n')}\n`)
    const bytes = await encodeSegment(ndjson, footer, prefixes)
    // Hashes first: those beyond the last segment are dropped at the next start, should it not come to the rename.
    await this.#tree.writeFrom(this.#tiles.size, tiles)
    const segment = { path: join(this.paths.segments, segmentName(first, last)), first, last }
    await writeDurably(segment.path, bytes)
    this.#segments.push(segment)
    this.#tiles = frontier
    this.#partial = rest
    // The segment counts, and brings its checkpoint along: the next one, or the next start, publishes what could not be now.
    await writeDurably(this.paths.checkpoint, checkpoint).catch(() => {})
    return segment
  }

  /** Lines of the events after a position, up to and with another. */
  async *read(after: number, through = Number.POSITIVE_INFINITY): AsyncGenerator<{ position: number; line: Buffer }> {
    for (const segment of this.#segments.slice(this.#indexOf(after + 1))) {
      if (segment.first > through) return
      const { lines } = await readSegment(segment.path)
      let position = segment.first
      for (const { line } of linesOf(lines)) {
        if (position > through) return
        if (position > after) yield { position, line }
        position += 1
      }
    }
  }

  /** The position of the last event before a moment, or where the archive begins. @param timeMs Unix, milliseconds */
  async positionBefore(timeMs: number): Promise<number> {
    let low = 0
    let high = this.#segments.length
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      const { firstTime } = await readFooter(this.#segments[middle]?.path ?? '')
      if (Date.parse(firstTime) < timeMs) low = middle + 1
      else high = middle
    }
    const segment = this.#segments[low - 1]
    if (segment === undefined) return this.#dropped.through
    let before = segment.first - 1
    for await (const { position, line } of this.read(segment.first - 1, segment.last)) {
      const time: unknown = JSON.parse(line.toString()).time
      if (typeof time !== 'string' || Date.parse(time) >= timeMs) break
      before = position
    }
    return before
  }

  /** The last position of the segments that are too much, when the newest may have so many bytes; 0 when none is. */
  async positionBeyond(bytes: number): Promise<number> {
    let left = bytes
    for (const segment of this.#segments.toReversed()) {
      left -= (await stat(segment.path)).size
      if (left < 0) return segment.last
    }
    return 0
  }

  /**
   * Drops whole segments from the front; their hashes stay, so that what is left can be proved as before.
   *
   * @param through no segment with a later event is dropped, and the last one never
   */
  async drop(through: number): Promise<(SegmentFile & { bytes: number })[]> {
    const gone = this.#segments.slice(0, -1).filter(({ last }) => last <= through)
    const end = gone.at(-1)
    if (end === undefined) return []
    const leaves = await this.leaves(end.last - (end.last % TILE_LEAVES), end.last)
    await writeDropped(this.paths, { through: end.last, leaves })
    this.#dropped = { through: end.last, leaves }
    this.#segments = this.#segments.slice(gone.length)
    return await Promise.all(
      gone.map(async (segment) => {
        const bytes = (await stat(segment.path)).size
        await rm(segment.path)
        return { ...segment, bytes }
      }),
    )
  }

  /** Leaf hashes of the positions after one, up to and with another, from the segments or from what dropping left. */
  async leaves(after: number, through: number): Promise<Buffer[]> {
    const kept = this.#dropped.through - this.#dropped.leaves.length
    if (after < kept)
      throw new PurserError(
        'out_of_range',
        `the events up to ${this.#dropped.through} have been dropped by retention`,
        {
          remedy: `ask for one after ${this.#dropped.through}`,
        },
      )
    const leaves = this.#dropped.leaves.slice(after - kept, Math.max(0, through - kept))
    for await (const { line } of this.read(Math.max(after, this.#dropped.through), through)) leaves.push(leafHash(line))
    return leaves
  }

  /** Hashes over the complete tiles, all of them. */
  async tiles(): Promise<Buffer[]> {
    return Array.fromAsync(this.#tree.read(0, this.#tiles.size))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tree[Symbol.asyncDispose]()
  }

  #root(): Buffer {
    return rootWith(this.#tiles, this.#partial)
  }

  #indexOf(position: number): number {
    let low = 0
    let high = this.#segments.length
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if ((this.#segments[middle]?.last ?? 0) < position) low = middle + 1
      else high = middle
    }
    return low
  }

  async #load(): Promise<void> {
    this.#dropped = await readDropped(this.paths)
    for (const segment of await listSegments(this.paths)) {
      // Retention was cut off after it had noted what goes.
      if (segment.last <= this.#dropped.through) await rm(segment.path, { force: true })
      else this.#segments.push(segment)
    }
    let expected = this.first
    for (const { path, first, last } of this.#segments) {
      if (first !== expected)
        throw new PurserError('data_loss', `the archive has no segment that begins with event ${expected}`, {
          remedy: `put it back from a backup: the next one is ${path}`,
        })
      expected = last + 1
    }
    await this.#loadTree()
    const newest = this.#segments.at(-1)
    const checkpoint = newest === undefined ? this.checkpoint : (await readFooter(newest.path)).checkpoint
    const { size, root } = openCheckpoint(checkpoint, verifierOf(this.#signer))
    if (size !== this.last || !root.equals(this.#root()))
      throw new PurserError(
        'data_loss',
        `the archive's hashes in ${this.paths.tree} are not the ones that were signed`,
        {
          remedy:
            'purser log verify names what was altered; the file alone can be deleted, it is made again from the segments',
        },
      )
    // Only what is not there yet: a disk may be full, and the log goes on without sealing.
    const files = { checkpoint, key: `${formatVerifier(verifierOf(this.#signer))}\n` }
    for (const name of ['checkpoint', 'key'] as const) {
      const written = await readFile(this.paths[name], 'utf8').catch(() => undefined)
      if (written !== files[name]) await writeDurably(this.paths[name], files[name])
    }
  }

  /** Takes the tile hashes from their file, and those that it lacks from the segments. */
  async #loadTree(): Promise<void> {
    const complete = Math.floor(this.last / TILE_LEAVES)
    for await (const tile of this.#tree.read(0, complete)) this.#tiles.add(tile)
    const stored = this.#tiles.size
    const missing: Buffer[] = []
    for (let tile = stored; tile < complete; tile++) {
      missing.push(rootOf(await this.leaves(tile * TILE_LEAVES, (tile + 1) * TILE_LEAVES)))
    }
    for (const tile of missing) this.#tiles.add(tile)
    await this.#tree.writeFrom(stored, missing)
    this.#partial = await this.leaves(complete * TILE_LEAVES, this.last)
  }
}

/** The root of a tree of complete tiles and a rest. */
const rootWith = (tiles: Frontier, rest: readonly Buffer[]): Buffer =>
  tiles.root(rest.length === 0 ? undefined : rootOf(rest))
