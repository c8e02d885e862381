import { closeSync, fstatSync, readdirSync } from 'node:fs'
import { type ByteString, cPath } from '../host/byte-paths.ts'
import { O, openat, type Timespec, timespecOfNs } from '../host/syscalls.ts'
import { type Directory, lstatIn } from './directories.ts'

/**
 * What a layer wrote into a tree that has the files of the layers below: its whiteouts hide only the others.
 *
 * @see image-spec, layer.md, "Whiteouts"
 */
export class OwnEntries {
  readonly #names = new Set<string>()
  readonly #remove: (directory: Directory, name: ByteString) => void
  readonly #thinning: (directory: Directory, mtime: Timespec) => void

  /** @param thinning called before something is removed from a directory that stays, with its time until then */
  constructor(
    remove: (directory: Directory, name: ByteString) => void,
    thinning: (directory: Directory, mtime: Timespec) => void,
  ) {
    this.#remove = remove
    this.#thinning = thinning
  }

  add(directory: Directory, name: ByteString): void {
    this.#names.add(`${directory.key}/${name}`)
  }

  delete(directory: Directory, name: ByteString): void {
    this.#names.delete(`${directory.key}/${name}`)
  }

  has(directory: Directory, name: ByteString): boolean {
    return this.#names.has(`${directory.key}/${name}`)
  }

  /** Removes an entry of the layers below; of a directory all but what this layer wrote, and the way to it. */
  removeOthers(directory: Directory, name: ByteString): void {
    if (!lstatIn(directory, name)?.isDirectory()) {
      if (!this.has(directory, name)) this.#remove(directory, name)
      return
    }
    const within = openBelow(directory, name)
    try {
      if (this.has(directory, name) || this.#hasBelow(within)) {
        this.#thinning(within, timespecOfNs(fstatSync(within.fd, { bigint: true }).mtimeNs))
        this.removeOthersIn(within)
      } else this.#remove(directory, name)
    } finally {
      closeSync(within.fd)
    }
  }

  /** Removes all that the directory has from the layers below. */
  removeOthersIn(directory: Directory): void {
    for (const name of namesIn(directory)) this.removeOthers(directory, name)
  }

  #hasBelow(directory: Directory): boolean {
    if (this.#names.size === 0) return false
    return namesIn(directory).some((name) => {
      if (this.has(directory, name)) return true
      if (!lstatIn(directory, name)?.isDirectory()) return false
      const within = openBelow(directory, name)
      try {
        return this.#hasBelow(within)
      } finally {
        closeSync(within.fd)
      }
    })
  }
}

const namesIn = ({ fd }: Directory): ByteString[] => readdirSync(`/proc/self/fd/${fd}`, 'latin1')

function openBelow(directory: Directory, name: ByteString): Directory {
  const fd = openat(directory.fd, cPath(name), O.DIRECTORY | O.NOFOLLOW)
  const { dev, ino } = fstatSync(fd, { bigint: true })
  return { fd, key: `${dev}:${ino}` }
}
