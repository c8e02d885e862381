import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'

/** The first CRIU on the search path that works on this kernel; or why there is none, for tests that are skipped then. */
export function findCriu(): { path: string } | { skip: string } {
  const candidates = (process.env.PATH ?? '')
    .split(':')
    .filter(isAbsolute)
    .map((dir) => join(dir, 'criu'))
  const found = candidates.filter((path) => existsSync(path))
  for (const path of found) {
    try {
      execFileSync(path, ['check'], { stdio: 'ignore', cwd: '/' })
      return { path }
    } catch {
      // The next one may know this kernel.
    }
  }
  return { skip: found.length === 0 ? 'CRIU is not installed' : `criu check fails: ${found.join(', ')}` }
}

/** Has runc use it. */
export const criuConfig = (path: string): string => `[runtime.runc.options]\ncriuPath = ${JSON.stringify(path)}\n`
