/** The line of an event in the archive: what is stored in Redis, with the position before it. */
export const lineOf = (position: number, json: string): string => `{"position":${position},${json.slice(1)}`

/**
 * The lines of a segment; a line's bytes are its leaf.
 *
 * @param lines after one byte of 0; the newlines become the leaf prefix of RFC 6962, so that hashing copies nothing
 */
export function* linesOf(lines: Buffer): Generator<{ line: Buffer; prefixed: Buffer }> {
  let start = 1
  while (start < lines.length) {
    let end = lines.indexOf(0x0a, start)
    if (end < 0) end = lines.length // Cut off: a line all the same, so that it is named.
    lines[start - 1] = 0
    yield { line: lines.subarray(start, end), prefixed: lines.subarray(start - 1, end) }
    start = end + 1
  }
}

/** The position that a line says it has; undefined when it says none. */
export function positionOf(line: Buffer): number | undefined {
  // {"position":123,…
  if (line.toString('latin1', 0, 12) !== '{"position":') return undefined
  let position = 0
  let at = 12
  for (; at < line.length; at++) {
    const digit = (line[at] ?? 0) - 48
    if (digit < 0 || digit > 9) break
    position = position * 10 + digit
  }
  return at > 12 && at < 28 ? position : undefined
}
