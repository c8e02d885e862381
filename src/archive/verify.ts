import { readFile } from 'node:fs/promises'
import { errorCodeOf, PurserError } from '../model/errors.ts'
import { type Checkpoint, openCheckpoint } from './checkpoint.ts'
import {
  type ArchivePaths,
  archivePaths,
  type Dropped,
  listSegments,
  readDropped,
  type SegmentFile,
} from './directory.ts'
import { linesOf, positionOf } from './lines.ts'
import { Frontier, leafHashOfPrefixed, rootOf } from './merkle.ts'
import type { Verifier } from './note.ts'
import {
  type Footer,
  inflate,
  LEAF_PREFIX_BYTES,
  parseFooter,
  parseSegment,
  readFooter,
  type Segment,
} from './segment.ts'
import { TILE_LEAVES, TreeFile } from './tree-file.ts'

export interface VerifyOptions {
  dir: string
  /** Of whoever signed the log, from a place that the host cannot alter. */
  verifier: Verifier
  /** Positions between which events are read; the hashes over all others are checked all the same. */
  from?: number | undefined
  to?: number | undefined
}

/** The first thing that is not as it was sealed. */
export interface Fault {
  kind: 'altered' | 'missing' | 'inserted' | 'reordered' | 'damaged' | 'unsigned'
  /** Of the event, where one can be named. */
  position?: number
  file: string
  detail: string
}

export interface Verification {
  /** Positions of the first and the last event that were read; `last` is below `first` when there was none. */
  first: number
  last: number
  events: number
  segments: number
  checkpoint?: Checkpoint
  fault?: Fault
}

/** Thrown within this file to end a verification at its first fault. */
class FaultFound extends Error {
  readonly fault: Fault
  constructor(kind: Fault['kind'], file: string, detail: string, position?: number) {
    super(detail)
    this.fault = { kind, file, detail, ...(position === undefined ? {} : { position }) }
  }
}

/**
 * Reads an archive and compares it with what its node has signed: each event with its leaf hash, the hashes with the tree,
 * the tree with the signed heads of all segments. Needs nothing but the directory and the public key.
 */
export async function verifyArchive(options: VerifyOptions): Promise<Verification> {
  const paths = archivePaths(options.dir)
  while (true) {
    const { through } = await readDropped(paths).catch(() => ({ through: -1 }))
    const result: Verification = { first: 1, last: 0, events: 0, segments: 0 }
    try {
      await verify(paths, options, result)
      return result
    } catch (error) {
      if (!(error instanceof FaultFound)) throw error
      result.fault = error.fault
    }
    // Missing may be what a daemon has dropped by retention meanwhile.
    const now = await readDropped(paths).catch(() => ({ through: -1 }))
    if (now.through <= through) return result
  }
}

async function verify(paths: ArchivePaths, options: VerifyOptions, result: Verification): Promise<void> {
  const { verifier } = options
  // In this order, so that what a daemon seals meanwhile is beyond the head, or has brought its own.
  const published = await openHead(paths, verifier)
  const segments = await listSegments(paths)
  const dropped = await faultAs('damaged', paths.dropped, readDropped(paths))
  const head = await headOf(segments.at(-1), published, verifier)
  result.checkpoint = head
  checkNames(segments, dropped, head, paths)
  const size = head.size
  const tiles = await storedTiles(paths, Math.floor(size / TILE_LEAVES))

  const from = Math.max(options.from ?? 1, dropped.through + 1)
  const to = Math.min(options.to ?? size, size)
  result.first = from
  if (from <= to) {
    const check = new TileCheck(paths, tiles, from, dropped)
    for (const segment of segments) {
      if (segment.last <= check.size || segment.first > tileEnd(to)) continue
      result.events += await verifySegment(segment, verifier, check, { from, to })
      result.segments += 1
      result.last = Math.min(to, segment.last)
    }
  }

  const all = new Frontier()
  for (const tile of tiles) all.add(tile)
  const rest = await lastLeaves(segments, dropped, size)
  if (!all.root(rest.length === 0 ? undefined : rootOf(rest)).equals(head.root))
    throw new FaultFound(
      'altered',
      paths.tree,
      `the hashes lead to another root than the one signed for ${size} events`,
    )
}

/** The last position of the tile that a position is in. */
const tileEnd = (position: number): number => Math.ceil(position / TILE_LEAVES) * TILE_LEAVES

/** The leaves of the tile that is being read, and the tree before it. */
class TileCheck {
  readonly #paths: ArchivePaths
  readonly #tiles: readonly Buffer[]
  readonly #frontier = new Frontier()
  #leaves: Buffer[] = []
  /** Events whose prefix in the index differs from their leaf hash: altered, if the tile says so too. */
  #suspects: { position: number; file: string }[] = []

  constructor(paths: ArchivePaths, tiles: readonly Buffer[], from: number, dropped: Dropped) {
    this.#paths = paths
    this.#tiles = tiles
    const before = Math.floor((from - 1) / TILE_LEAVES)
    for (const tile of tiles.slice(0, before)) this.#frontier.add(tile)
    if (before * TILE_LEAVES < dropped.through) this.#leaves.push(...dropped.leaves)
  }

  /** Position of the last event that it holds. */
  get size(): number {
    return this.#frontier.size * TILE_LEAVES + this.#leaves.length
  }

  root(): Buffer {
    return this.#frontier.root(this.#leaves.length === 0 ? undefined : rootOf(this.#leaves))
  }

  get suspect(): { position: number; file: string } | undefined {
    return this.#suspects[0]
  }

  add(leaf: Buffer, prefixHolds: boolean, file: string): void {
    this.#leaves.push(leaf)
    if (!prefixHolds) this.#suspects.push({ position: this.size, file })
    if (this.#leaves.length < TILE_LEAVES) return
    const tile = rootOf(this.#leaves)
    const stored = this.#tiles[this.#frontier.size]
    const [suspect] = this.#suspects
    const last = this.size
    if (stored?.equals(tile)) {
      if (suspect)
        throw new FaultFound('damaged', suspect.file, `the index entry of event ${suspect.position} is not its hash`)
    } else {
      if (suspect) throw altered(suspect)
      throw new FaultFound(
        'altered',
        this.#paths.tree,
        `the hash over events ${last - TILE_LEAVES + 1} to ${last} is not the one of these events`,
        last - TILE_LEAVES + 1,
      )
    }
    this.#frontier.add(tile)
    this.#leaves = []
  }
}

const altered = ({ position, file }: { position: number; file: string }): FaultFound =>
  new FaultFound('altered', file, `event ${position} is not the one that was sealed`, position)

/** @returns how many of its events are within the range */
async function verifySegment(
  { path, first, last }: SegmentFile,
  verifier: Verifier,
  check: TileCheck,
  range: { from: number; to: number },
): Promise<number> {
  const bytes = await faultAs('missing', path, readFile(path), first)
  // A file with a wrong checksum is read on, as far as it goes: its first bad event is to be named.
  const whole = await faultAs(
    'damaged',
    path,
    Promise.resolve().then(() => parseSegment(path, bytes)),
    first,
  ).catch((error: unknown) => error)
  const segment = isSegment(whole) ? whole : attempt(() => parseFooter(path, bytes))
  if (segment === undefined) throw whole
  const { lines, error } = await inflate(bytes.subarray(0, segment.frameBytes))

  const { footer, leafPrefixes } = segment
  if (footer.first !== first || footer.last !== last)
    throw new FaultFound(
      'reordered',
      path,
      `it holds events ${footer.first} to ${footer.last}, as its name does not say`,
      first,
    )
  const skipped = check.size >= first ? check.size - first + 1 : 0
  let position = first - 1
  let events = 0
  const times = { first: '', last: '' }
  for (const { line, prefixed } of linesOf(lines)) {
    const leaf = leafHashOfPrefixed(prefixed)
    position += 1
    if (position > last)
      throw new FaultFound('inserted', path, `an event follows event ${last}, the segment's last`, last)
    const at = (position - first) * LEAF_PREFIX_BYTES
    const prefixHolds = leafPrefixes.compare(leaf, 0, LEAF_PREFIX_BYTES, at, at + LEAF_PREFIX_BYTES) === 0
    checkPosition(path, line, position, prefixHolds)
    if (!isSegment(whole) && !prefixHolds) throw altered({ position, file: path })
    if (position === first) times.first = timeOf(line)
    if (position === last) times.last = timeOf(line)
    if (position > first - 1 + skipped) check.add(leaf, prefixHolds, path)
    if (position >= range.from && position <= range.to) events += 1
  }
  if (error) throw new FaultFound('damaged', path, `it does not decompress after event ${position}`, position + 1)
  if (position < last) throw new FaultFound('missing', path, `event ${position + 1} is missing`, position + 1)
  if (!isSegment(whole)) throw whole
  checkFooter(path, footer, { first, last }, times, verifier, check)
  return events
}

const isSegment = (parsed: unknown): parsed is Segment =>
  typeof parsed === 'object' && parsed !== null && 'leafPrefixes' in parsed

function checkPosition(path: string, line: Buffer, expected: number, prefixHolds: boolean): void {
  const position = positionOf(line)
  if (position === expected) return
  if (position === undefined || prefixHolds)
    throw new FaultFound('altered', path, `event ${expected} does not say its position`, expected)
  if (position > expected)
    throw new FaultFound('missing', path, `event ${expected} is missing: ${position} is in its place`, expected)
  const kind = position === expected - 1 ? 'inserted' : 'reordered'
  throw new FaultFound(
    kind,
    path,
    `an event that says it is ${position} is in the place of event ${expected}`,
    expected,
  )
}

function checkFooter(
  path: string,
  footer: Footer,
  { first, last }: { first: number; last: number },
  times: { first: string; last: string },
  verifier: Verifier,
  check: TileCheck,
): void {
  if (footer.firstTime !== times.first || footer.lastTime !== times.last)
    throw new FaultFound('damaged', path, 'its footer does not give the times of its events', first)
  const signed = openSigned(path, footer.checkpoint, verifier)
  if (signed.size === last && signed.root.equals(check.root())) return
  if (check.suspect) throw altered(check.suspect)
  throw new FaultFound(
    'altered',
    path,
    `events ${first} to ${last} lead to another root than the one signed with them`,
    first,
  )
}

function checkNames(segments: readonly SegmentFile[], dropped: Dropped, head: Checkpoint, paths: ArchivePaths): void {
  let expected = dropped.through + 1
  for (const { path, first, last } of segments) {
    if (last <= dropped.through) continue
    if (first > expected)
      throw new FaultFound('missing', path, `events ${expected} to ${first - 1} are missing before it`, expected)
    if (first < expected) throw new FaultFound('inserted', path, `events from ${first} on are there twice`, first)
    expected = last + 1
  }
  if (expected <= head.size)
    throw new FaultFound('missing', paths.segments, `events ${expected} to ${head.size} are missing`, expected)
  if (expected - 1 > head.size)
    throw new FaultFound(
      'unsigned',
      paths.checkpoint,
      `the signed head ends with event ${head.size}, the segments with ${expected - 1}`,
      head.size + 1,
    )
}

async function openHead(paths: ArchivePaths, verifier: Verifier): Promise<Checkpoint> {
  const note = await faultAs('missing', paths.checkpoint, readFile(paths.checkpoint, 'utf8'))
  return openSigned(paths.checkpoint, note, verifier)
}

/** The head that the last segment brings along, where the daemon has not published it yet, or ended before it could. */
async function headOf(newest: SegmentFile | undefined, published: Checkpoint, verifier: Verifier): Promise<Checkpoint> {
  if (newest === undefined || newest.last <= published.size) return published
  const { checkpoint } = await faultAs('damaged', newest.path, readFooter(newest.path), newest.first)
  const own = openSigned(newest.path, checkpoint, verifier)
  return own.size === newest.last ? own : published
}

function openSigned(file: string, note: string, verifier: Verifier): Checkpoint {
  try {
    return openCheckpoint(note, verifier)
  } catch (error) {
    if (errorCodeOf(error) !== 'data_loss') throw error
    throw new FaultFound('unsigned', file, error instanceof Error ? error.message : String(error))
  }
}

async function storedTiles(paths: ArchivePaths, count: number): Promise<Buffer[]> {
  await using file = await faultAs('missing', paths.tree, TreeFile.open(paths.tree, 'read'))
  const tiles = await Array.fromAsync(file.read(0, count))
  if (tiles.length < count)
    throw new FaultFound(
      'missing',
      paths.tree,
      `it holds ${tiles.length} hashes of ${count}`,
      tiles.length * TILE_LEAVES + 1,
    )
  return tiles
}

/** Leaf hashes of the events after the last complete tile. */
async function lastLeaves(segments: readonly SegmentFile[], dropped: Dropped, size: number): Promise<Buffer[]> {
  const after = size - (size % TILE_LEAVES)
  const leaves = after < dropped.through ? [...dropped.leaves] : []
  for (const { path, first, last } of segments) {
    if (last <= Math.max(after, dropped.through)) continue
    const bytes = await readFile(path)
    const { frameBytes } = await faultAs(
      'damaged',
      path,
      Promise.resolve().then(() => parseSegment(path, bytes)),
      first,
    )
    let position = first
    for (const { prefixed } of linesOf((await inflate(bytes.subarray(0, frameBytes))).lines)) {
      if (position > after) leaves.push(leafHashOfPrefixed(prefixed))
      position += 1
    }
  }
  return leaves
}

const timeOf = (line: Buffer): string => {
  const event: unknown = attempt(() => JSON.parse(line.toString()))
  return typeof event === 'object' && event !== null && 'time' in event ? String(event.time) : ''
}

function attempt<T>(make: () => T): T | undefined {
  try {
    return make()
  } catch {
    return undefined
  }
}

/** What an archive's own functions throw about a damaged or absent file, as a fault. */
async function faultAs<T>(kind: Fault['kind'], file: string, made: Promise<T>, position?: number): Promise<T> {
  try {
    return await made
  } catch (error) {
    const absent = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    if (!absent && !(error instanceof PurserError && error.code === 'data_loss')) throw error
    const detail = absent ? 'it is not there' : error.message
    throw new FaultFound(absent ? 'missing' : kind, file, detail, position)
  }
}
