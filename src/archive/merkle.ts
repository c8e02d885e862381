import { hash } from 'node:crypto'

/** Bytes of a SHA-256 hash. */
export const HASH_BYTES = 32

/**
 * The Merkle tree of RFC 6962, whose leaves are the events of the log in order. Its root names all of them: it changes
 * when one is altered, dropped, inserted or moved.
 *
 * @see RFC 6962 section 2.1, RFC 9162 section 2.1
 */
export const EMPTY_ROOT: Buffer = hash('sha256', '', 'buffer')

/** @param prefixed the leaf's bytes after one byte of 0, so that a caller with large buffers need not copy */
export const leafHashOfPrefixed = (prefixed: Uint8Array): Buffer => hash('sha256', prefixed, 'buffer')

export function leafHash(leaf: string | Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([LEAF, typeof leaf === 'string' ? Buffer.from(leaf) : leaf]), 'buffer')
}

const LEAF = Buffer.from([0])
const pair = Buffer.alloc(1 + 2 * HASH_BYTES)
pair[0] = 1

export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  pair.set(left, 1)
  pair.set(right, 1 + HASH_BYTES)
  return hash('sha256', pair, 'buffer')
}

/** The root over hashes of complete subtrees of one size, the last of which may be over fewer leaves. */
export function rootOf(hashes: readonly Buffer[]): Buffer {
  if (hashes.length === 0) return EMPTY_ROOT
  const frontier = new Frontier()
  for (const each of hashes) frontier.add(each)
  return frontier.root()
}

/** The roots of the complete subtrees that a growing tree consists of: all that is needed to add to it. */
export class Frontier {
  /** By height; a hole where the size has a zero bit. */
  readonly #complete: (Buffer | undefined)[] = []
  #size = 0

  get size(): number {
    return this.#size
  }

  clone(): Frontier {
    const copy = new Frontier()
    copy.#complete.push(...this.#complete)
    copy.#size = this.#size
    return copy
  }

  add(subtree: Buffer): void {
    let carried = subtree
    let height = 0
    for (let left = this.#complete[height]; left !== undefined; left = this.#complete[height]) {
      carried = nodeHash(left, carried)
      this.#complete[height] = undefined
      height += 1
    }
    this.#complete[height] = carried
    this.#size += 1
  }

  /** @param rest the hash over leaves that follow, too few for a subtree of their own */
  root(rest?: Buffer): Buffer {
    let root = rest
    for (const subtree of this.#complete) {
      if (subtree === undefined) continue
      root = root === undefined ? subtree : nodeHash(subtree, root)
    }
    return root ?? EMPTY_ROOT
  }
}

/** Gives the hash over the leaves start … start + size - 1, where size is a power of two that divides start. */
export type SubtreeHash = (start: number, size: number) => Buffer

/** The hash over leaves start … end - 1 as they hang in a tree: the first n of it, or what its recursion splits off. */
export function hashOver(start: number, end: number, subtree: SubtreeHash): Buffer {
  const count = end - start
  if (count === 0) return EMPTY_ROOT
  const left = splitOf(count)
  if (left === count) return subtree(start, count)
  return nodeHash(subtree(start, left), hashOver(start + left, end, subtree))
}

/**
 * @param index of the leaf, from 0
 * @param size leaves of the tree
 * @returns the siblings from the leaf up to the root
 * @see RFC 6962 section 2.1.1
 */
export function inclusionPath(index: number, size: number, subtree: SubtreeHash): Buffer[] {
  const path: Buffer[] = []
  let start = 0
  let end = size
  while (end - start > 1) {
    const middle = start + halfOf(end - start)
    if (index < middle) {
      path.unshift(hashOver(middle, end, subtree))
      end = middle
    } else {
      path.unshift(hashOver(start, middle, subtree))
      start = middle
    }
  }
  return path
}

/** @returns the root that the path leads to; undefined when the path has not the length that index and size call for */
export function rootOfInclusion(
  leaf: Buffer,
  index: number,
  size: number,
  path: readonly Buffer[],
): Buffer | undefined {
  if (index < 0 || index >= size) return undefined
  let node = index
  let last = size - 1
  let root = leaf
  for (const sibling of path) {
    if (last === 0) return undefined
    if (node % 2 === 1 || node === last) {
      root = nodeHash(sibling, root)
      while (node % 2 === 0 && node !== 0) {
        node = half(node)
        last = half(last)
      }
    } else {
      root = nodeHash(root, sibling)
    }
    node = half(node)
    last = half(last)
  }
  return last === 0 ? root : undefined
}

/**
 * Proves that the tree of `size` leaves begins with that of `oldSize`.
 *
 * @see RFC 6962 section 2.1.2
 */
export function consistencyPath(oldSize: number, size: number, subtree: SubtreeHash): Buffer[] {
  if (oldSize === 0 || oldSize === size) return []
  const path: Buffer[] = []
  let start = 0
  let end = size
  let whole = true // Whether what is left of the old tree is a complete subtree that the verifier knows.
  while (oldSize !== end) {
    const middle = start + halfOf(end - start)
    if (oldSize <= middle) {
      path.unshift(hashOver(middle, end, subtree))
      end = middle
    } else {
      path.unshift(hashOver(start, middle, subtree))
      start = middle
      whole = false
    }
  }
  if (!whole) path.unshift(hashOver(start, end, subtree))
  return path
}

/** @see RFC 9162 section 2.1.4.2 */
export function isConsistent(
  old: { size: number; root: Buffer },
  now: { size: number; root: Buffer },
  path: readonly Buffer[],
): boolean {
  if (old.size > now.size) return false
  if (old.size === now.size) return path.length === 0 && old.root.equals(now.root)
  if (old.size === 0) return path.length === 0 && old.root.equals(EMPTY_ROOT)
  const hashes = isPowerOfTwo(old.size) ? [old.root, ...path] : [...path]
  let node = old.size - 1
  let last = now.size - 1
  while (node % 2 === 1) {
    node = half(node)
    last = half(last)
  }
  const first = hashes.shift()
  if (first === undefined) return false
  let oldRoot = first
  let root = first
  for (const each of hashes) {
    if (last === 0) return false
    if (node % 2 === 1 || node === last) {
      oldRoot = nodeHash(each, oldRoot)
      root = nodeHash(each, root)
      while (node % 2 === 0 && node !== 0) {
        node = half(node)
        last = half(last)
      }
    } else {
      root = nodeHash(root, each)
    }
    node = half(node)
    last = half(last)
  }
  return last === 0 && oldRoot.equals(old.root) && root.equals(now.root)
}

// Sizes pass 2^32: no bit operators.
const half = (n: number): number => Math.floor(n / 2)
const isPowerOfTwo = (n: number): boolean => splitOf(n) === n

/** The largest power of two that is not above n. */
function splitOf(n: number): number {
  let power = 1
  while (power * 2 <= n) power *= 2
  return power
}

/** The largest power of two below n. */
const halfOf = (n: number): number => (splitOf(n) === n ? n / 2 : splitOf(n))
