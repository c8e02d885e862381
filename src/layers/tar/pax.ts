import type { ByteString } from '../../host/byte-paths.ts'
import type { Timespec } from '../../host/syscalls.ts'
import { malformed, type SparseRegion } from './header.ts'

/** What extended headers say about an entry; absent fields are those of the header block. */
export interface Extensions {
  path?: ByteString
  linkPath?: ByteString
  sizeBytes?: number
  uid?: number
  gid?: number
  mtime?: Timespec
  xattrs: Map<ByteString, Buffer>
  sparse: {
    major?: number
    minor?: number
    name?: ByteString
    realBytes?: number
    /** Version 0.0 repeats offset and length, 0.1 lists them; 1.0 has them before the data. */
    regions?: SparseRegion[]
    pendingOffset?: number
  }
}

export const noExtensions = (): Extensions => ({ xattrs: new Map(), sparse: {} })

/** A copy, so that an entry's own header can change what a global one said. */
export const copyExtensions = (from: Extensions): Extensions => ({
  ...from,
  xattrs: new Map(from.xattrs),
  sparse: { ...from.sparse },
})

const XATTR_PREFIXES = ['SCHILY.xattr.', 'LIBARCHIVE.xattr.']

/**
 * Reads pax records, `LENGTH KEYWORD=VALUE\n`, into `into`. An empty value takes the field back.
 *
 * @throws PurserError data_loss for records that are not well formed
 * @see POSIX pax, "pax Extended Header"
 */
export function parsePax(records: Buffer, into: Extensions): void {
  let at = 0
  while (at < records.length) {
    const space = records.indexOf(0x20, at)
    const digits = space < 0 || space - at > 12 ? '' : records.toString('latin1', at, space)
    const length = /^[0-9]+$/.test(digits) ? Number(digits) : 0
    const end = at + length
    if (end <= space + 1 || end > records.length || records[end - 1] !== 0x0a)
      throw malformed('a pax record is cut off')
    const equals = records.indexOf(0x3d, space)
    if (equals < 0 || equals >= end) throw malformed('a pax record has no =')
    applyRecord(records.toString('latin1', space + 1, equals), records.subarray(equals + 1, end - 1), into)
    at = end
  }
}

function applyRecord(keyword: ByteString, value: Buffer, into: Extensions): void {
  switch (keyword) {
    case 'path':
      setOrClear(into, 'path', nameOf(keyword, value))
      return
    case 'linkpath':
      setOrClear(into, 'linkPath', nameOf(keyword, value))
      return
    case 'size':
      setOrClear(into, 'sizeBytes', wholeNumber(keyword, value))
      return
    case 'uid':
      setOrClear(into, 'uid', wholeNumber(keyword, value))
      return
    case 'gid':
      setOrClear(into, 'gid', wholeNumber(keyword, value))
      return
    case 'mtime':
      setOrClear(into, 'mtime', value.length === 0 ? undefined : parsePaxTime(value.toString('latin1')))
      return
  }
  if (keyword.startsWith('GNU.sparse.')) {
    applySparse(keyword.slice(11), value, into.sparse)
    return
  }
  const prefix = XATTR_PREFIXES.find((each) => keyword.startsWith(each))
  if (prefix === undefined) return
  const rest = keyword.slice(prefix.length)
  // libarchive writes names percent-encoded and values in base64. @see libarchive, archive_write_set_format_pax.c
  if (prefix === 'LIBARCHIVE.xattr.') {
    into.xattrs.set(decodePercent(rest), Buffer.from(value.toString('latin1'), 'base64'))
  } else into.xattrs.set(rest, Buffer.from(value))
}

function applySparse(keyword: string, value: Buffer, into: Extensions['sparse']): void {
  switch (keyword) {
    case 'major':
      setOrClear(into, 'major', wholeNumber(keyword, value))
      return
    case 'minor':
      setOrClear(into, 'minor', wholeNumber(keyword, value))
      return
    case 'name':
      setOrClear(into, 'name', nameOf(keyword, value))
      return
    case 'size':
    case 'realsize':
      setOrClear(into, 'realBytes', wholeNumber(keyword, value))
      return
    case 'offset':
      setOrClear(into, 'pendingOffset', wholeNumber(keyword, value))
      return
    case 'numblocks':
      into.regions ??= []
      return
    case 'numbytes': {
      if (into.pendingOffset === undefined) throw malformed('GNU.sparse.numbytes without an offset')
      into.regions ??= []
      into.regions.push({ offset: into.pendingOffset, length: wholeNumber(keyword, value) ?? 0 })
      delete into.pendingOffset
      return
    }
    case 'map':
      into.regions = parseSparseMap(value.toString('latin1'))
  }
}

function setOrClear<T extends object, K extends keyof T>(into: T, key: K, value: T[K] | undefined): void {
  if (value === undefined) delete into[key]
  else into[key] = value
}

function nameOf(keyword: string, value: Buffer): ByteString | undefined {
  if (value.includes(0)) throw malformed(`the pax record ${keyword} has a zero byte`)
  return value.length === 0 ? undefined : value.toString('latin1')
}

function wholeNumber(keyword: string, value: Buffer): number | undefined {
  if (value.length === 0) return undefined
  return decimal(value.toString('latin1'), `the pax record ${keyword}`)
}

/** @throws PurserError data_loss unless all digits, and no more than 2^53 - 1 */
export function decimal(text: string, what: string): number {
  const number = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(number))
    throw malformed(`${what} is not a whole number: ${JSON.stringify(text.slice(0, 40))}`)
  return number
}

/** Decimal seconds with any number of decimals; the kernel keeps nine. */
export function parsePaxTime(text: string): Timespec {
  const [, sign, whole, decimals = ''] = /^(-?)([0-9]{1,15})(?:\.([0-9]*))?$/.exec(text) ?? []
  if (whole === undefined) throw malformed(`mtime is not a number of seconds: ${JSON.stringify(text.slice(0, 40))}`)
  const seconds = Number(whole)
  const nanoseconds = Number(decimals.slice(0, 9).padEnd(9, '0'))
  if (sign !== '-') return { seconds, nanoseconds }
  return nanoseconds === 0
    ? { seconds: -seconds || 0, nanoseconds }
    : { seconds: -seconds - 1, nanoseconds: 1e9 - nanoseconds }
}

function parseSparseMap(text: string): SparseRegion[] {
  const numbers = text === '' ? [] : text.split(',')
  if (numbers.length % 2 !== 0) throw malformed('GNU.sparse.map has an odd number of fields')
  const regions: SparseRegion[] = []
  for (let at = 0; at < numbers.length; at += 2) {
    regions.push({
      offset: decimal(numbers[at] ?? '', 'GNU.sparse.map'),
      length: decimal(numbers[at + 1] ?? '', 'GNU.sparse.map'),
    })
  }
  return regions
}

const decodePercent = (name: ByteString): ByteString =>
  name.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
