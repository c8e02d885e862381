import { type BigIntStats, closeSync, fstatSync, readdirSync, statfsSync } from 'node:fs'
import { PurserError } from '../model/errors.ts'
import { type ByteString, cPath, printable } from './byte-paths.ts'
import { errnoOf, O, openat } from './syscalls.ts'

/** Something in a tree that is being walked. */
export interface TreeEntry {
  /** Below the start; empty for the start itself. */
  path: ByteString
  /** Open with O_PATH until the next one is asked for: whatever takes the name meanwhile, this stays what was found. */
  fd: number
  status: BigIntStats
}

/** As deep as a layer may be; each level holds a descriptor. */
const DEPTH_MAX = 256

/** File systems whose files the kernel makes as they are read, by their magic numbers. @see statfs(2) */
const MADE_BY_THE_KERNEL = new Set([
  0x9fa0, // proc
  0x1cd1, // devpts
  0x27e0eb, // cgroup
  0x62656572, // sysfs
  0x63677270, // cgroup2
  0x64626720, // debugfs
  0x73636673, // securityfs
  0x74726163, // tracefs
  0x19800202, // mqueue
  0xcafe4a11, // bpf
])

/** Whether what is open is of /proc, /sys or their like. */
export const isMadeByTheKernel = (fd: number): boolean => MADE_BY_THE_KERNEL.has(statfsSync(`/proc/self/fd/${fd}`).type)

/**
 * A tree, a directory before what is in it, in the order of bytes. Every step is relative to a directory that is open and
 * follows no symlink, so that the walk stays where it began, whoever changes the tree meanwhile; what has gone by then is
 * left out. Of a mounted /proc, /sys or their like only the directory is told.
 *
 * @param start open, of any kind; it stays open
 * @throws PurserError resource_exhausted for a tree that is too deep
 */
export function* walkTree(start: number): Generator<TreeEntry, void, void> {
  const status = fstatSync(start, { bigint: true })
  yield { path: '', fd: start, status }
  if (status.isDirectory()) yield* below(start, '', status.dev, 1)
}

function* below(directory: number, path: ByteString, device: bigint, depth: number): Generator<TreeEntry, void, void> {
  if (depth > DEPTH_MAX) {
    throw new PurserError('resource_exhausted', `${printable(path)} is more than ${DEPTH_MAX} directories deep`, {
      remedy: 'name a directory further down',
    })
  }
  const names = readdirSync(`/proc/self/fd/${directory}`, 'latin1').sort((a, b) => (a < b ? -1 : 1))
  for (const name of names) {
    const fd = openEntry(directory, name)
    if (fd === undefined) continue
    try {
      const status = fstatSync(fd, { bigint: true })
      const at = path === '' ? name : `${path}/${name}`
      yield { path: at, fd, status }
      const isApart = status.dev !== device && status.isDirectory() && isMadeByTheKernel(fd)
      if (status.isDirectory() && !isApart) yield* below(fd, at, status.dev, depth + 1)
    } finally {
      closeSync(fd)
    }
  }
}

function openEntry(directory: number, name: ByteString): number | undefined {
  try {
    return openat(directory, cPath(name), O.PATH | O.NOFOLLOW)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}
