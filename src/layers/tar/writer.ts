import type { ByteString } from '../../host/byte-paths.ts'
import type { Timespec } from '../../host/syscalls.ts'
import { BLOCK_BYTES, type EntryType, type TarEntry } from './header.ts'

const FLAGS: Readonly<Record<EntryType, number>> = {
  file: 0x30,
  link: 0x31,
  symlink: 0x32,
  char: 0x33,
  block: 0x34,
  directory: 0x35,
  fifo: 0x36,
}
const PAX_FLAG = 0x78

const NAME_BYTES = 100
/** What seven and eleven octal digits hold. */
const ID_MAX = 0o7777777
const SIZE_MAX = 0o77777777777

/** Two blocks of zeros end a tar. */
export const TAR_END = Buffer.alloc(2 * BLOCK_BYTES)

/** The zeros between an entry's data and the next header. */
export const paddingAfter = (bytes: number): Buffer => Buffer.alloc((BLOCK_BYTES - (bytes % BLOCK_BYTES)) % BLOCK_BYTES)

/**
 * The header of an entry, with an extended one before it for what ustar cannot say. The same entry gives the same bytes.
 *
 * @see POSIX pax, "pax Interchange Format"
 */
export function encodeHeader(entry: TarEntry): Buffer {
  const { type, mode, uid, gid, mtime, linkPath, major, minor } = entry
  const sizeBytes = type === 'file' ? entry.sizeBytes : 0
  // The root has no name of its own.
  const path = type === 'directory' ? `${entry.path || '.'}/` : entry.path
  const records: Buffer[] = []
  const say = (keyword: string, value: string | Buffer) => records.push(paxRecord(keyword, value))
  if (path.length > NAME_BYTES) say('path', Buffer.from(path, 'latin1'))
  if (linkPath.length > NAME_BYTES) say('linkpath', Buffer.from(linkPath, 'latin1'))
  if (uid > ID_MAX) say('uid', String(uid))
  if (gid > ID_MAX) say('gid', String(gid))
  if (sizeBytes > SIZE_MAX) say('size', String(sizeBytes))
  const isPlainTime = mtime.nanoseconds === 0 && mtime.seconds >= 0 && mtime.seconds <= SIZE_MAX
  if (!isPlainTime) say('mtime', paxTime(mtime))
  for (const [name, value] of [...entry.xattrs].sort(([a], [b]) => (a < b ? -1 : 1))) say(`SCHILY.xattr.${name}`, value)

  const own = block({
    name: path.slice(0, NAME_BYTES),
    flag: FLAGS[type],
    mode,
    uid: uid > ID_MAX ? 0 : uid,
    gid: gid > ID_MAX ? 0 : gid,
    sizeBytes: sizeBytes > SIZE_MAX ? 0 : sizeBytes,
    seconds: isPlainTime ? mtime.seconds : 0,
    linkPath: linkPath.slice(0, NAME_BYTES),
    major,
    minor,
  })
  if (records.length === 0) return own
  const data = Buffer.concat(records)
  const header = block({
    name: 'PaxHeaders.0/entry',
    flag: PAX_FLAG,
    mode: 0o644,
    uid: 0,
    gid: 0,
    sizeBytes: data.length,
    seconds: 0,
    linkPath: '',
    major: 0,
    minor: 0,
  })
  return Buffer.concat([header, data, paddingAfter(data.length), own])
}

interface Fields {
  name: ByteString
  flag: number
  mode: number
  uid: number
  gid: number
  sizeBytes: number
  seconds: number
  linkPath: ByteString
  major: number
  minor: number
}

function block(fields: Fields): Buffer {
  const bytes = Buffer.alloc(BLOCK_BYTES)
  const octal = (value: number, offset: number, length: number) =>
    bytes.write(value.toString(8).padStart(length - 1, '0'), offset, 'latin1')
  bytes.write(fields.name, 0, 'latin1')
  octal(fields.mode, 100, 8)
  octal(fields.uid, 108, 8)
  octal(fields.gid, 116, 8)
  octal(fields.sizeBytes, 124, 12)
  octal(fields.seconds, 136, 12)
  bytes[156] = fields.flag
  bytes.write(fields.linkPath, 157, 'latin1')
  bytes.write('ustar\x0000', 257, 'latin1')
  octal(fields.major, 329, 8)
  octal(fields.minor, 337, 8)
  bytes.fill(0x20, 148, 156)
  let sum = 0
  for (const byte of bytes) sum += byte
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return bytes
}

/** `LENGTH KEYWORD=VALUE\n`, where the length counts itself. */
function paxRecord(keyword: ByteString, value: string | Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${keyword}=`, 'latin1'), Buffer.from(value), Buffer.from('\n')])
  let length = rest.length + 1
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length
  return Buffer.concat([Buffer.from(String(length)), rest])
}

/** Decimal seconds; before 1970 the decimals of a timespec count upwards from the whole second below. */
function paxTime({ seconds, nanoseconds }: Timespec): string {
  const isBefore = seconds < 0 && nanoseconds > 0
  const whole = isBefore ? seconds + 1 : seconds
  const decimals = (isBefore ? 1e9 - nanoseconds : nanoseconds).toString().padStart(9, '0').replace(/0+$/, '')
  const sign = isBefore && whole === 0 ? '-' : ''
  return `${sign}${whole}${decimals === '' ? '' : `.${decimals}`}`
}
