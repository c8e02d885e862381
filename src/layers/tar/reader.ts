import type { ByteString } from '../../host/byte-paths.ts'
import { type LayerLimits, overLimit } from '../limits.ts'
import {
  BLOCK_BYTES,
  type EntryType,
  isZeroBlock,
  malformed,
  numberField,
  parseHeader,
  type RawHeader,
  type SparseRegion,
  type TarEntry,
} from './header.ts'
import { copyExtensions, type Extensions, noExtensions, parsePax } from './pax.ts'
import { checkSparse, OLD_SPARSE, parseOldSparse, SparseMapReader } from './sparse.ts'

/** Receives entries in order: `entry`, then its `data` in pieces, then `entryEnd`. Pieces are valid during the call. */
export interface TarSink {
  entry(entry: TarEntry): void
  /** @param position where in the file the piece goes */
  data(piece: Buffer, position: number): void
  entryEnd(): void
}

/** What the next bytes are. */
type State =
  | { at: 'header' }
  | { at: 'extension'; header: RawHeader; parts: Buffer[]; left: number }
  | { at: 'old-sparse'; header: RawHeader; regions: SparseRegion[]; realBytes: number }
  | { at: 'sparse-map'; header: RawHeader; map: SparseMapReader; left: number }
  | { at: 'data'; left: number; dataBytes: number; region: number; inRegion: number }
  | { at: 'padding'; left: number }
  | { at: 'end' }

const FLAG = {
  longLink: 0x4b, // K
  longName: 0x4c, // L
  paxGlobal: 0x67, // g
  pax: 0x78, // x
  paxSolaris: 0x58, // X
  sparse: 0x53, // S
  volume: 0x56, // V
} as const

const TYPES: Record<number, EntryType> = {
  49: 'link',
  50: 'symlink',
  51: 'char',
  52: 'block',
  53: 'directory',
  54: 'fifo',
}

/** (uid_t)-1 means no change to chown(2). */
const ID_MAX = 0xffff_fffe

const paddingOf = (bytes: number): number => (BLOCK_BYTES - (bytes % BLOCK_BYTES)) % BLOCK_BYTES

/**
 * A tar reader that is pushed bytes and never waits, for ustar, pax, GNU and old tars. It copies nothing but headers
 * that lie across two pieces.
 *
 * @see POSIX pax; GNU tar manual, "Tar Internals"
 */
export class TarReader {
  entries = 0
  #state: State = { at: 'header' }
  readonly #sink: TarSink
  readonly #limits: LayerLimits
  readonly #carry = Buffer.alloc(BLOCK_BYTES)
  #carried = 0
  #global: Extensions = noExtensions()
  #next: Extensions | undefined
  #longName: ByteString | undefined
  #longLink: ByteString | undefined
  #current: TarEntry | undefined
  #sawZeroBlock = false

  constructor(sink: TarSink, limits: LayerLimits) {
    this.#sink = sink
    this.#limits = limits
  }

  /** @throws PurserError data_loss for bytes that are no tar, resource_exhausted beyond a limit; the sink's own */
  write(bytes: Buffer): void {
    let at = 0
    while (at < bytes.length) {
      const state = this.#state
      switch (state.at) {
        case 'data':
          at += this.#takeData(state, bytes, at)
          break
        case 'padding': {
          const taken = Math.min(state.left, bytes.length - at)
          state.left -= taken
          at += taken
          if (state.left === 0) this.#state = { at: 'header' }
          break
        }
        case 'extension': {
          const taken = Math.min(state.left, bytes.length - at)
          state.parts.push(Buffer.from(bytes.subarray(at, at + taken)))
          state.left -= taken
          at += taken
          if (state.left === 0) this.#endExtension(state.header, Buffer.concat(state.parts))
          break
        }
        case 'end':
          return // Whatever follows the end mark is padding.
        default:
          at += this.#takeBlock(state, bytes, at)
      }
    }
  }

  /** @throws PurserError data_loss when the tar stops within an entry */
  end(): void {
    const isWhole = (this.#state.at === 'header' && this.#carried === 0) || this.#state.at === 'end'
    if (!isWhole) throw malformed('it ends in the middle of an entry', this.#current?.path)
    if (this.#next || this.#longName !== undefined || this.#longLink !== undefined) {
      throw malformed('it ends after an extended header')
    }
  }

  #takeBlock(state: Extract<State, { at: 'header' | 'old-sparse' | 'sparse-map' }>, bytes: Buffer, at: number): number {
    if (this.#carried === 0 && bytes.length - at >= BLOCK_BYTES) {
      this.#block(state, bytes.subarray(at, at + BLOCK_BYTES))
      return BLOCK_BYTES
    }
    const taken = Math.min(BLOCK_BYTES - this.#carried, bytes.length - at)
    bytes.copy(this.#carry, this.#carried, at, at + taken)
    this.#carried += taken
    if (this.#carried === BLOCK_BYTES) {
      this.#carried = 0
      this.#block(state, this.#carry)
    }
    return taken
  }

  #block(state: Extract<State, { at: 'header' | 'old-sparse' | 'sparse-map' }>, block: Buffer): void {
    if (state.at === 'header') {
      this.#header(block)
      return
    }
    if (state.at === 'old-sparse') {
      const { offset, count, isExtended } = OLD_SPARSE.extension
      parseOldSparse(block, offset, count, state.regions)
      this.#checkRegions(state.regions)
      if (block[isExtended] === 0) this.#beginSparse(state.header, state.regions, state.realBytes)
      return
    }
    state.left -= BLOCK_BYTES
    const isWhole = state.map.take(block)
    this.#checkRegions(state.map.regions)
    if (isWhole) this.#begin({ ...state.header, dataBytes: state.left }, state.map.regions)
    else if (state.left < BLOCK_BYTES) throw malformed('the sparse map is cut off', state.header.name)
  }

  #checkRegions(regions: readonly SparseRegion[]): void {
    if (regions.length * 16 > this.#limits.extendedHeaderBytesMax) {
      const { extendedHeaderBytesMax } = this.#limits
      throw overLimit(`a sparse map of ${regions.length} regions`, 'extendedHeaderBytesMax', extendedHeaderBytesMax)
    }
  }

  #header(block: Buffer): void {
    if (isZeroBlock(block)) {
      if (this.#sawZeroBlock) this.#state = { at: 'end' }
      this.#sawZeroBlock = true
      return
    }
    if (this.#sawZeroBlock) throw malformed('a single block of zeros between entries', this.#current?.path)
    const header = parseHeader(block)
    if (header.dataBytes < 0) throw malformed('its size is negative', header.name)
    switch (header.typeflag) {
      case FLAG.pax:
      case FLAG.paxSolaris:
      case FLAG.paxGlobal:
      case FLAG.longName:
      case FLAG.longLink:
        if (header.dataBytes > this.#limits.extendedHeaderBytesMax) {
          const { extendedHeaderBytesMax } = this.#limits
          const what = `an extended header of ${header.dataBytes} bytes`
          throw overLimit(what, 'extendedHeaderBytesMax', extendedHeaderBytesMax)
        }
        if (header.dataBytes === 0) return
        this.#state = { at: 'extension', header, parts: [], left: header.dataBytes }
        return
      case FLAG.sparse: {
        const { offset, count, isExtended, realBytes } = OLD_SPARSE.header
        const regions: SparseRegion[] = []
        parseOldSparse(block, offset, count, regions)
        const size = numberField(block, realBytes, 12, 'the real size')
        if (block[isExtended] !== 0) this.#state = { at: 'old-sparse', header, regions, realBytes: size }
        else this.#beginSparse(header, regions, size)
        return
      }
    }
    const sparse = this.#next?.sparse
    if (sparse?.major === 1 && sparse.minor === 0) {
      const left = this.#next?.sizeBytes ?? header.dataBytes
      if (left < BLOCK_BYTES) throw malformed('it has no sparse map', header.name)
      this.#state = { at: 'sparse-map', header, map: new SparseMapReader(), left }
      return
    }
    this.#begin({ ...header, dataBytes: this.#next?.sizeBytes ?? header.dataBytes }, sparse?.regions)
  }

  #beginSparse(header: RawHeader, regions: SparseRegion[], realBytes: number): void {
    this.#next ??= copyExtensions(this.#global)
    this.#next.sparse = { ...this.#next.sparse, realBytes }
    this.#begin({ ...header, dataBytes: this.#next.sizeBytes ?? header.dataBytes }, regions)
  }

  #endExtension(header: RawHeader, body: Buffer): void {
    this.#skip(paddingOf(header.dataBytes))
    switch (header.typeflag) {
      case FLAG.paxGlobal:
        parsePax(body, this.#global)
        return
      case FLAG.longName:
        this.#longName = upToZero(body)
        return
      case FLAG.longLink:
        this.#longLink = upToZero(body)
        return
    }
    this.#next ??= copyExtensions(this.#global)
    parsePax(body, this.#next)
    const { xattrsMax, xattrBytesMax } = this.#limits
    const { xattrs } = this.#next
    if (xattrs.size > xattrsMax)
      throw overLimit(`an entry with ${xattrs.size} extended attributes`, 'xattrsMax', xattrsMax)
    for (const { length } of xattrs.values()) {
      if (length > xattrBytesMax)
        throw overLimit(`an extended attribute of ${length} bytes`, 'xattrBytesMax', xattrBytesMax)
    }
  }

  #begin(header: RawHeader, regions: readonly SparseRegion[] | undefined): void {
    const more = this.#next ?? this.#global
    const path = more.sparse.name ?? more.path ?? this.#longName ?? header.name
    const linkPath = more.linkPath ?? this.#longLink ?? header.linkName
    this.#next = undefined
    this.#longName = undefined
    this.#longLink = undefined

    this.entries += 1
    const { entriesMax, pathBytesMax, pathDepthMax } = this.#limits
    if (this.entries > entriesMax) throw overLimit(`more than ${entriesMax} entries`, 'entriesMax', entriesMax)
    if (path.length > pathBytesMax || linkPath.length > pathBytesMax) {
      const length = Math.max(path.length, linkPath.length)
      throw overLimit(`a path of ${length} bytes`, 'pathBytesMax', pathBytesMax)
    }
    // Of a short path the depth need not be counted.
    if (path.length > 2 * pathDepthMax) {
      const depth = path.split('/').length - 1
      if (depth > pathDepthMax) throw overLimit(`a path of ${depth} directories`, 'pathDepthMax', pathDepthMax)
    }
    if (path === '') throw malformed('an entry has no name')
    const ids = [more.uid ?? header.uid, more.gid ?? header.gid, header.major, header.minor]
    if (ids.some((id) => id < 0 || id > ID_MAX)) throw malformed('its owner or device number is out of range', path)

    const known = TYPES[header.typeflag]
    const type = known ?? (path.endsWith('/') ? 'directory' : 'file')
    // A size in a header of another type, as some writers give to hard links, has no bytes behind it.
    const dataBytes = known ? 0 : header.dataBytes
    const sizeBytes = regions ? (more.sparse.realBytes ?? dataBytes) : dataBytes
    if (regions) checkSparse(regions, sizeBytes, dataBytes, path)
    const { tarBytesMax } = this.#limits
    if (sizeBytes > tarBytesMax) throw overLimit(`a file of ${sizeBytes} bytes`, 'tarBytesMax', tarBytesMax)
    const entry: TarEntry = {
      path,
      type,
      mode: header.mode,
      uid: more.uid ?? header.uid,
      gid: more.gid ?? header.gid,
      sizeBytes,
      mtime: more.mtime ?? { seconds: header.mtimeSeconds, nanoseconds: 0 },
      linkPath,
      major: header.major,
      minor: header.minor,
      xattrs: more.xattrs,
      sparse: regions,
    }
    this.#current = entry
    if (header.typeflag !== FLAG.volume) this.#sink.entry(entry)
    if (type === 'file' && dataBytes > 0 && header.typeflag !== FLAG.volume) {
      this.#state = { at: 'data', left: dataBytes, dataBytes, region: 0, inRegion: 0 }
      return
    }
    if (header.typeflag !== FLAG.volume) this.#sink.entryEnd()
    this.#skip(dataBytes + paddingOf(dataBytes))
  }

  #takeData(state: Extract<State, { at: 'data' }>, bytes: Buffer, at: number): number {
    const sparse = this.#current?.sparse
    let taken = Math.min(state.left, bytes.length - at)
    let position = (this.#current?.sizeBytes ?? 0) - state.left
    if (sparse) {
      let region = sparse[state.region]
      while (region && region.length === state.inRegion) {
        state.region += 1
        state.inRegion = 0
        region = sparse[state.region]
      }
      if (!region) throw malformed('more data than its sparse regions hold', this.#current?.path)
      taken = Math.min(taken, region.length - state.inRegion)
      position = region.offset + state.inRegion
      state.inRegion += taken
    }
    this.#sink.data(bytes.subarray(at, at + taken), position)
    state.left -= taken
    if (state.left === 0) {
      this.#sink.entryEnd()
      this.#skip(paddingOf(state.dataBytes))
    }
    return taken
  }

  #skip(bytes: number): void {
    this.#state = bytes > 0 ? { at: 'padding', left: bytes } : { at: 'header' }
  }
}

function upToZero(body: Buffer): ByteString {
  const zero = body.indexOf(0)
  return body.toString('latin1', 0, zero < 0 ? body.length : zero)
}
