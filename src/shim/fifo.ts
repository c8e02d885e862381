import { errnoOf, mkfifo } from '../host/syscalls.ts'

/** Makes a FIFO that only its owner may open, unless it is there already. */
export function ensureFifo(path: string): void {
  try {
    mkfifo(path, 0o600)
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error
  }
}
