import { readdirSync, readFileSync } from 'node:fs'
import { listMounts, parseMountinfo } from './mounts.ts'

/** A process that is still there, and what it does in the kernel. */
export interface Survivor {
  pid: number
  command: string
  /** As ps(1) has it: D hangs in the kernel. */
  state: string
  /** The function of the kernel that it waits in. */
  waitsIn?: string
  /** Of the kernel, innermost first; empty where it may not be read. */
  stack: string[]
}

const SURVIVORS_MAX = 16
const HOLDERS_MAX = 16
const STACK_LINES_MAX = 20

const read = (pid: number, file: string): string => {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return '' // It has ended, or may not be looked at.
  }
}

/** @see proc(5), /proc/pid/stat: the name may hold anything, and ends at the last parenthesis */
function statOf(pid: number): { command: string; state: string } | undefined {
  const stat = read(pid, 'stat')
  if (stat === '') return undefined
  const end = stat.lastIndexOf(')')
  return { command: stat.slice(stat.indexOf('(') + 1, end), state: stat.slice(end + 2, end + 3) }
}

/** What is known of those of these processes that have not ended; a few of many. */
export function survivorsOf(pids: readonly number[]): Survivor[] {
  const survivors: Survivor[] = []
  for (const pid of pids) {
    const stat = statOf(pid)
    if (stat === undefined || stat.state === 'Z' || stat.state === 'X') continue
    const waitsIn = read(pid, 'wchan').trim()
    const stack = read(pid, 'stack').split('\n').filter(Boolean).slice(0, STACK_LINES_MAX)
    survivors.push({ pid, ...stat, ...(waitsIn === '' || waitsIn === '0' ? {} : { waitsIn }), stack: stack.map(frame) })
    if (survivors.length === SURVIVORS_MAX) break
  }
  return survivors
}

/** `[<0>] wait_woken+0x4d/0x70` without the address, which tells nothing. */
const frame = (line: string): string => line.replace(/^\[<[^>]*>\] /, '')

/** Mounts at a path and beneath it. */
export function mountsBeneath(path: string): string[] {
  return listMounts().flatMap(({ target }) => (isBeneath(target, path) ? [target] : []))
}

/**
 * Processes outside of our mount namespace, and not among these, that still see a mount beneath a path: it stays as long as
 * they do.
 */
export function holdersOf(path: string, without: ReadonlySet<number>): { pid: number; command: string }[] {
  const own = read(process.pid, 'mountinfo')
  const holders: { pid: number; command: string }[] = []
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid) || without.has(pid)) continue
    const mounts = read(pid, 'mountinfo')
    if (mounts === own || !parseMountinfo(mounts).some(({ target }) => isBeneath(target, path))) continue
    holders.push({ pid, command: statOf(pid)?.command ?? '' })
    if (holders.length === HOLDERS_MAX) break
  }
  return holders
}

const isBeneath = (target: string, path: string): boolean => target === path || target.startsWith(`${path}/`)
