import type { ByteString } from '../../../host/byte-paths.ts'
import { glob } from '../../../model/glob.ts'

type Part = 'any directories' | ((name: string) => boolean)

export interface ArtifactPattern {
  /** The path before the first part that has a `*`: all of it where none has. */
  from: ByteString
  /** Whether something below that is meant, itself or as part of a directory that is. */
  takes(path: ByteString): boolean
}

/** A path in which `*` stands for any characters of a name, and `**` as a name for any directories, also none. */
export function artifactPattern(text: ByteString): ArtifactPattern {
  const names = text.split('/')
  const first = names.findIndex((name) => name.includes('*'))
  if (first < 0) return { from: text, takes: () => true }
  const parts = names.map((name): Part => (name === '**' ? 'any directories' : glob(name)))
  return { from: names.slice(0, first).join('/'), takes: (path) => matchesStart(parts, path.split('/')) }
}

/** Whether the parts are the whole of a path, or of one that leads to it. Takes as long as both are, multiplied. */
function matchesStart(parts: readonly Part[], names: readonly string[]): boolean {
  let at = reached(parts, [0])
  for (const name of names) {
    at = reached(
      parts,
      [...at].flatMap((index) => {
        const part = parts[index]
        if (part === 'any directories') return [index]
        return part?.(name) ? [index + 1] : []
      }),
    )
    if (at.has(parts.length)) return true
  }
  return false
}

/** `**` may stand for nothing. */
function reached(parts: readonly Part[], indices: readonly number[]): ReadonlySet<number> {
  const found = new Set<number>()
  for (let index of indices) {
    found.add(index)
    while (parts[index] === 'any directories') found.add(++index)
  }
  return found
}
