import { type ByteString, printable } from '../host/byte-paths.ts'
import { PurserError } from '../model/errors.ts'

/** A path below a root in two parts; both are empty for the root itself. */
export interface EntryPath {
  parent: ByteString
  name: ByteString
}

/** Whether a path is as cleaning would leave it, which nearly all are. */
const IS_CLEAN = /^(?!\/)(?!.*(?:^|\/)\.{0,2}(?:\/|$))/s

/** The path without `.`, empty parts and leading slashes; `..` goes up, at the root nowhere. As Go's path.Clean("/" + path). */
export function cleanPath(path: ByteString): ByteString {
  const from = path.startsWith('./') ? 2 : 0
  const to = path.endsWith('/') ? path.length - 1 : path.length
  const trimmed = to > from ? path.slice(from, to) : ''
  if (IS_CLEAN.test(trimmed)) return trimmed
  const parts: ByteString[] = []
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue
    if (part === '..') parts.pop()
    else parts.push(part)
  }
  return parts.join('/')
}

export function splitPath(clean: ByteString): EntryPath {
  const slash = clean.lastIndexOf('/')
  return slash < 0 ? { parent: '', name: clean } : { parent: clean.slice(0, slash), name: clean.slice(slash + 1) }
}

const WHITEOUT = '.wh.'
const WHITEOUT_META = '.wh..wh.'
const OPAQUE = '.wh..wh..opq'

export type WhiteoutName = { is: 'opaque' } | { is: 'whiteout'; of: ByteString } | { is: 'leftover' }

/**
 * What a whiteout's name means: the whole directory, one name, or something AUFS left behind.
 *
 * @throws PurserError invalid_argument for a name that would hide `.`, `..` or nothing
 * @see image-spec, layer.md, "Whiteouts"
 */
export function parseWhiteout(clean: ByteString, name: ByteString): WhiteoutName | undefined {
  if (!clean.includes(WHITEOUT)) return undefined
  if (name === OPAQUE) return { is: 'opaque' }
  if (clean.startsWith(WHITEOUT_META) || name.startsWith(WHITEOUT_META)) return { is: 'leftover' }
  if (!name.startsWith(WHITEOUT)) return undefined
  const of = name.slice(WHITEOUT.length)
  if (of !== '' && of !== '.' && of !== '..') return { is: 'whiteout', of }
  throw new PurserError('invalid_argument', `the layer has the whiteout ${printable(clean)}, which hides no name`, {
    remedy: 'build the image again',
  })
}
