import { closeSync, constants, fstatSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs'

/** A line of `/etc/hosts`. */
export interface HostLine {
  address: string
  names: readonly string[]
}

const BEGIN = '# names in its networks, kept current; what is written outside of these lines stays'
const END = '# end of names'

/** What a container has written there is read again for each change: beyond this size it is left alone. */
const BYTES_MAX = 1024 * 1024

/** The text of a hosts file with these lines in place of those that were put there before. */
export function withNames(text: string, lines: readonly HostLine[]): string {
  const kept = lines.map(({ address, names }) => `${address}\t${names.join(' ')}`)
  const block = [BEGIN, ...kept, END, ''].join('\n')
  const begin = text.indexOf(`${BEGIN}\n`)
  const end = text.indexOf(`${END}\n`, begin)
  if (begin >= 0 && end >= 0) return text.slice(0, begin) + block + text.slice(end + END.length + 1)
  return `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}${block}`
}

/**
 * Puts lines into a hosts file that containers have mounted. It stays the same file, as a mount is of a file and not of its
 * name; whoever reads meanwhile finds old lines or new ones, and never none.
 */
export function keepNames(path: string, lines: readonly HostLine[]): void {
  const file = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW)
  try {
    if (fstatSync(file).size > BYTES_MAX) return
    const text = readFileSync(file, 'latin1') // Byte for byte, whatever a container has written.
    const next = withNames(text, lines)
    if (next === text) return
    const written = writeSync(file, next, 0, 'latin1')
    if (written < next.length) throw new Error(`${path}: of ${next.length} bytes ${written} were written`)
    ftruncateSync(file, next.length)
  } finally {
    closeSync(file)
  }
}
