import { readFileSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import type { ProcessInfo } from '../model/process-info.ts'
import { errnoOf } from './syscalls.ts'

const TICKS_PER_SECOND = 100 // USER_HZ, whatever the kernel's own clock.
const PAGE_BYTES = 4096
const PTS_MAJOR = 136

const bootedMs = Number(/^btime (\d+)$/m.exec(readFileSync('/proc/stat', 'utf8'))?.[1] ?? 0) * 1000
const names = namesOfUsers()

/** Undefined for one that has ended. @see proc_pid_stat(5), proc_pid_status(5), proc_pid_cmdline(5) */
function infoOf(pid: number): ProcessInfo | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const status = readFileSync(`/proc/${pid}/status`, 'latin1')
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1)
    const end = stat.lastIndexOf(')')
    const command = stat.slice(stat.indexOf('(') + 1, end)
    const fields = stat.slice(end + 2).split(' ')
    const at = (index: number): number => Number(fields[index] ?? 0)
    const uid = Number(/^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1] ?? 0)
    const cpuMs = ((at(11) + at(12)) * 1000) / TICKS_PER_SECOND
    const startedMs = bootedMs + (at(19) * 1000) / TICKS_PER_SECOND
    return {
      pid,
      ppid: at(1),
      uid,
      user: names.get(uid) ?? String(uid),
      state: fields[0] ?? '?',
      tty: terminalOf(at(4)),
      cpuMs,
      cpuPercent: Math.round((1000 * cpuMs) / Math.max(1, Date.now() - startedMs)) / 10,
      startedAt: new Date(startedMs).toISOString(),
      virtualBytes: at(20),
      residentBytes: at(21) * PAGE_BYTES,
      command,
      args: words.length > 0 ? words.join(' ') : `[${command}]`,
    }
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return undefined
    throw error
  }
}

/** As ps has them, whatever the container calls them. */
function namesOfUsers(): Map<number, string> {
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n')
  return new Map(lines.map((line) => line.split(':')).map(([name = '', , uid]) => [Number(uid), name]))
}

function terminalOf(device: number): string {
  const major = (device >> 8) & 0xfff
  const minor = (device & 0xff) | ((device >> 12) & 0xfff00)
  return major >= PTS_MAJOR && major < PTS_MAJOR + 8 ? `pts/${(major - PTS_MAJOR) * 256 + minor}` : '?'
}

const pids: readonly number[] = workerData
parentPort?.postMessage(pids.flatMap((pid) => infoOf(pid) ?? []))
