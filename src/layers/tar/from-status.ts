import type { BigIntStats } from 'node:fs'
import type { EntryType } from './header.ts'

/** Undefined for a socket: it is of a process, not of a tree. */
export function entryTypeOf(status: BigIntStats): Exclude<EntryType, 'link'> | undefined {
  if (status.isFile()) return 'file'
  if (status.isDirectory()) return 'directory'
  if (status.isSymbolicLink()) return 'symlink'
  if (status.isCharacterDevice()) return 'char'
  if (status.isBlockDevice()) return 'block'
  return status.isFIFO() ? 'fifo' : undefined
}

/** As glibc's major(3) and minor(3). */
export const deviceOf = (device: bigint): { major: number; minor: number } => ({
  major: Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n)),
  minor: Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n)),
})
