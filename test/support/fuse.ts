import { closeSync, openSync } from 'node:fs'

/** Whether this machine lets a program serve a file system: containers often do not. */
export function hasFuse(): boolean {
  try {
    closeSync(openSync('/dev/fuse', 'r+'))
    return true
  } catch {
    return false
  }
}
