import type { ByteString } from '../../host/byte-paths.ts'
import { printable } from '../../host/byte-paths.ts'
import type { Timespec } from '../../host/syscalls.ts'
import { PurserError } from '../../model/errors.ts'

export const BLOCK_BYTES = 512

/** What an entry makes; everything that is not known by its flag is a file. @see POSIX pax, "ustar Interchange Format" */
export type EntryType = 'file' | 'link' | 'symlink' | 'char' | 'block' | 'directory' | 'fifo'

export interface SparseRegion {
  offset: number
  length: number
}

/** One entry, with pax and GNU extensions applied. Names are byte strings. */
export interface TarEntry {
  path: ByteString
  type: EntryType
  /** Permissions with setuid, setgid and sticky: 12 bits. */
  mode: number
  uid: number
  gid: number
  /** Bytes of the file as it will be, holes included. */
  sizeBytes: number
  mtime: Timespec
  linkPath: ByteString
  major: number
  minor: number
  xattrs: ReadonlyMap<ByteString, Buffer>
  /** Where the data goes in a file with holes, in ascending order; undefined for plain files. */
  sparse: readonly SparseRegion[] | undefined
}

/** A file of root's, of no time, without holes and attributes. */
export const plainFile = (path: ByteString, { mode, sizeBytes }: { mode: number; sizeBytes: number }): TarEntry => ({
  path,
  type: 'file',
  mode,
  uid: 0,
  gid: 0,
  sizeBytes,
  mtime: { seconds: 0, nanoseconds: 0 },
  linkPath: '',
  major: 0,
  minor: 0,
  xattrs: new Map(),
  sparse: undefined,
})

/** The fields of one header block, before extensions. */
export interface RawHeader {
  typeflag: number
  name: ByteString
  mode: number
  uid: number
  gid: number
  dataBytes: number
  mtimeSeconds: number
  linkName: ByteString
  major: number
  minor: number
}

export function malformed(what: string, path?: ByteString): PurserError {
  const where = path === undefined ? '' : ` at entry ${printable(path)}`
  return new PurserError('data_loss', `the layer is not a valid tar${where}: ${what}`, {
    remedy: 'pull the image again, or build it again if that does not help',
  })
}

/** The bytes up to the first zero. */
export function textField(block: Buffer, offset: number, length: number): ByteString {
  if (block[offset] === 0) return ''
  const zero = block.indexOf(0, offset)
  return block.toString('latin1', offset, zero < 0 || zero > offset + length ? offset + length : zero)
}

/**
 * A number field: octal digits, or base 256 in two's complement when the first bit is set.
 *
 * @throws PurserError data_loss when it is neither, or beyond 2^53
 */
export function numberField(block: Buffer, offset: number, length: number, field: string): number {
  const first = block[offset] ?? 0
  if ((first & 0x80) !== 0) {
    let value = (first & 0x40) !== 0 ? (first & 0x7f) - 0x80 : first & 0x3f
    for (let at = offset + 1; at < offset + length; at += 1) value = value * 256 + (block[at] ?? 0)
    if (!Number.isSafeInteger(value)) throw malformed(`${field} is out of range`)
    return value
  }
  let at = offset
  const end = offset + length
  while (at < end && (block[at] === 0x20 || block[at] === 0)) at += 1
  let value = 0
  for (; at < end; at += 1) {
    const byte = block[at] ?? 0
    if (byte === 0 || byte === 0x20) break
    if (byte < 0x30 || byte > 0x37) throw malformed(`${field} is not an octal number`)
    value = value * 8 + byte - 0x30
  }
  return value
}

const USTAR_POSIX = 'ustar\0'

/** True when all bytes of the block are zero. */
export function isZeroBlock(block: Buffer): boolean {
  for (let at = 0; at < BLOCK_BYTES; at += 1) if (block[at] !== 0) return false
  return true
}

/** @throws PurserError data_loss when the checksum or a number is wrong */
export function parseHeader(block: Buffer): RawHeader {
  const stated = numberField(block, 148, 8, 'the checksum')
  let sum = 8 * 0x20
  for (let at = 0; at < 148; at += 1) sum += block[at] ?? 0
  for (let at = 156; at < BLOCK_BYTES; at += 1) sum += block[at] ?? 0
  if (sum !== stated) throw malformed(`a header has the checksum ${sum} and states ${stated}`)

  const typeflag = block[156] ?? 0
  const isPosix = block.toString('latin1', 257, 263) === USTAR_POSIX
  const name = textField(block, 0, 100)
  const prefix = isPosix ? textField(block, 345, 155) : ''
  const isDevice = typeflag === 0x33 || typeflag === 0x34
  return {
    typeflag,
    name: prefix === '' ? name : `${prefix}/${name}`,
    mode: numberField(block, 100, 8, 'mode') & 0o7777,
    uid: numberField(block, 108, 8, 'uid'),
    gid: numberField(block, 116, 8, 'gid'),
    dataBytes: numberField(block, 124, 12, 'size'),
    mtimeSeconds: numberField(block, 136, 12, 'mtime'),
    linkName: textField(block, 157, 100),
    major: isDevice ? numberField(block, 329, 8, 'device major') : 0,
    minor: isDevice ? numberField(block, 337, 8, 'device minor') : 0,
  }
}
