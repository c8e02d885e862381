import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Debian's skopeo, as a client that is not ours. @returns what it prints @throws when it fails, with what it said */
export async function skopeo(...args: readonly string[]): Promise<string> {
  const options = { timeout: 60_000, maxBuffer: 16 * 1024 * 1024 }
  return (await run('skopeo', ['--insecure-policy', ...args], options)).stdout
}
