import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { errnoOf, flock } from '../host/syscalls.ts'
import { PurserError } from '../model/errors.ts'

/** A daemon that is being stopped, or whose child has not begun its own program yet, still holds its lock. */
const LEAVING_MS_MAX = 2000
const POLL_MS = 20

/**
 * Has a directory to itself, until disposed or the process ends, however it ends.
 *
 * @param flag the option that names the directory
 * @throws PurserError failed_precondition when another daemon has it
 */
export async function lockDirectory(dir: string, flag: string, signal: AbortSignal): Promise<AsyncDisposable> {
  const file = await open(join(dir, 'daemon.lock'), constants.O_RDWR | constants.O_CREAT, 0o600)
  const deadline = performance.now() + LEAVING_MS_MAX
  try {
    while (!isLocked(file.fd)) {
      if (performance.now() > deadline) {
        const pid = (await file.readFile('utf8')).trim()
        throw new PurserError('failed_precondition', `another daemon, process ${pid}, uses ${dir}`, {
          remedy: `stop that one, or give this one ${flag} of its own`,
        })
      }
      await delay(POLL_MS, undefined, { signal })
    }
    await file.truncate(0)
    await file.write(`${process.pid}\n`, 0)
    return file
  } catch (error) {
    await file.close()
    throw error
  }
}

function isLocked(fd: number): boolean {
  try {
    flock(fd)
    return true
  } catch (error) {
    if (errnoOf(error) === 'EAGAIN') return false
    throw error
  }
}
