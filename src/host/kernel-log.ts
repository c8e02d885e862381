import { closeSync, constants, openSync, readSync } from 'node:fs'
import { errnoOf } from './syscalls.ts'

/** A process that the kernel has ended for want of memory, as it is seen from the host. */
export interface OomVictim {
  pid: number
  /** As in /proc/PID/comm. */
  name: string
}

const OOM_KILL = /oom-kill:.*[,:]oom_memcg=(.*),task_memcg=(.*),task=(.*),pid=(\d+),uid=\d+$/

/** @returns the cgroup that had too little, and the victim; undefined for any other line of the kernel's log */
export function parseOomKill(line: string): { cgroup: string; victim: OomVictim } | undefined {
  const [, cgroup, , name, pid] = OOM_KILL.exec(line) ?? []
  if (cgroup === undefined || name === undefined) return undefined
  return { cgroup, victim: { pid: Number(pid), name } }
}

const RECORD_BYTES_MAX = 8192
const KILLS_MAX = 256

/** The kernel's log, as far as it tells of processes that were ended for want of memory. */
export class KernelLog implements Disposable {
  #fd: number | undefined
  #isReadable = true
  readonly #kills: { cgroup: string; victim: OomVictim }[] = []

  /**
   * The last victim of a cgroup, told once.
   *
   * @returns undefined where the log does not tell, or may not be read
   */
  takeVictim(cgroup: string): OomVictim | undefined {
    this.#read()
    const isOf = (each: string): boolean => each.endsWith(cgroup) || each.includes(`${cgroup}/`)
    const last = this.#kills.findLast((kill) => isOf(kill.cgroup))
    const others = this.#kills.filter((kill) => !isOf(kill.cgroup))
    this.#kills.splice(0, Infinity, ...others)
    return last?.victim
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
    this.#isReadable = false
  }

  /** What has come since the last time. @see dev-kmsg in the kernel's documentation: a read is a record */
  #read(): void {
    if (!this.#isReadable) return
    const buffer = Buffer.alloc(RECORD_BYTES_MAX)
    try {
      this.#fd ??= openSync('/dev/kmsg', constants.O_RDONLY | constants.O_NONBLOCK)
      for (;;) {
        const record = nextRecord(this.#fd, buffer)
        if (record === undefined) return
        const kill = parseOomKill(record.split('\n', 1)[0] ?? '')
        if (kill !== undefined) this.#kills.push(kill)
        if (this.#kills.length > KILLS_MAX) this.#kills.shift()
      }
    } catch {
      this[Symbol.dispose]() // Not ours to read: who the victim was stays unknown.
    }
  }
}

/** @returns undefined when there is none yet */
function nextRecord(fd: number, buffer: Buffer): string | undefined {
  for (;;) {
    try {
      return buffer.toString('utf8', 0, readSync(fd, buffer))
    } catch (error) {
      if (errnoOf(error) === 'EAGAIN') return undefined
      if (errnoOf(error) !== 'EPIPE') throw error // Those that were next have been overwritten.
    }
  }
}
