import { createHash } from 'node:crypto'
import { type Digest, digestOf } from '../../src/model/digest.ts'

/** An entry for `tarOf`; what is left out is as plain as can be. */
export interface TestEntry {
  name: string
  /** ustar type flag: 0 file, 1 hard link, 2 symlink, 3 char, 4 block, 5 directory, 6 fifo; or a GNU or pax one. */
  flag?: string
  data?: Buffer | string
  /** When it shall not be the length of the data. */
  size?: number
  link?: string
  mode?: number
  uid?: number
  gid?: number
  mtime?: number
  major?: number
  minor?: number
  pax?: Record<string, string | Buffer>
}

const octal = (value: number, width: number): string => `${value.toString(8).padStart(width - 1, '0')}\0`

/** One header block, with a right checksum. Names are cut at 100 bytes: longer ones need pax. */
export function headerOf(entry: TestEntry): Buffer {
  const block = Buffer.alloc(512)
  const size = entry.size ?? Buffer.byteLength(entry.data ?? '')
  block.write(entry.name.slice(0, 100), 0, 'latin1')
  block.write(octal(entry.mode ?? (entry.flag === '5' ? 0o755 : 0o644), 8), 100)
  block.write(octal(entry.uid ?? 0, 8), 108)
  block.write(octal(entry.gid ?? 0, 8), 116)
  block.write(octal(size, 12), 124)
  block.write(octal(entry.mtime ?? 1_700_000_000, 12), 136)
  block.write(entry.flag ?? '0', 156)
  block.write((entry.link ?? '').slice(0, 100), 157, 'latin1')
  block.write('ustar\x0000', 257, 'latin1')
  block.write(octal(entry.major ?? 0, 8), 329)
  block.write(octal(entry.minor ?? 0, 8), 337)
  block.fill(' ', 148, 156)
  block.write(
    octal(
      block.reduce((sum, byte) => sum + byte, 0),
      7,
    ),
    148,
  )
  return block
}

/** A pax record: its length counts itself. */
export function paxRecord(key: string, value: string | Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value), Buffer.from('\n')])
  let length = rest.length + 1
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length
  return Buffer.concat([Buffer.from(String(length)), rest])
}

/** Data as a tar has it: in whole blocks. */
export const padded = (data: Buffer): Buffer => Buffer.concat([data, Buffer.alloc((512 - (data.length % 512)) % 512)])

export function tarOf(entries: readonly TestEntry[], end: 'ended' | 'cut' = 'ended'): Buffer {
  const parts = entries.flatMap((entry) => {
    const data = Buffer.from(entry.data ?? '')
    const own = [headerOf(entry), padded(data)]
    if (!entry.pax) return own
    const records = Buffer.concat(Object.entries(entry.pax).map(([key, value]) => paxRecord(key, value)))
    return [headerOf({ name: 'PaxHeaders/x', flag: 'x', data: records }), padded(records), ...own]
  })
  return Buffer.concat(end === 'cut' ? parts : [...parts, Buffer.alloc(1024)])
}

export const sha256 = (bytes: Buffer): Digest => digestOf(bytes)
export const sha512 = (bytes: Buffer): Digest => `sha512:${createHash('sha512').update(bytes).digest('hex')}`
