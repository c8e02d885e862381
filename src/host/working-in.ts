import { readdirSync, readlinkSync } from 'node:fs'

/** Pids of the processes whose working directory is this one or below it. */
export function workingIn(dir: string): number[] {
  return readdirSync('/proc').flatMap((entry) => {
    const pid = Number(entry)
    if (!Number.isInteger(pid)) return []
    try {
      const cwd = readlinkSync(`/proc/${pid}/cwd`)
      return cwd === dir || cwd.startsWith(`${dir}/`) ? [pid] : []
    } catch {
      return [] // It has ended.
    }
  })
}
