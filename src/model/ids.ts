import { randomBytes, randomFillSync } from 'node:crypto'
import { z } from 'zod'
import { IDENTIFIER_CHARACTERS_MAX, IDENTIFIER_FORM } from './identifier-grammar.ts'

let lastMs = 0
let sequence = 0

const RANDOM_BYTES = 8
/** Random bytes for many ids: asking the kernel for each takes longer than all else about it. */
const pool = Buffer.alloc(512 * RANDOM_BYTES)
let used = pool.length

/**
 * A UUID of version 7: sortable by time, and within one millisecond by a counter.
 *
 * @see RFC 9562 section 5.7 and 6.2 (method 1)
 */
export function uuidv7(nowMs = Date.now()): string {
  if (nowMs > lastMs) {
    lastMs = nowMs
    sequence = random().readUInt16BE() & 0x7ff
  } else if (++sequence > 0xfff) {
    lastMs += 1
    sequence = 0
  }
  const time = lastMs.toString(16).padStart(12, '0')
  const tail = random()
  tail[0] = 0x80 | ((tail[0] ?? 0) & 0x3f)
  const hex = tail.toString('hex')
  const version = (0x7000 | sequence).toString(16)
  return `${time.slice(0, 8)}-${time.slice(8)}-${version}-${hex.slice(0, 4)}-${hex.slice(4)}`
}

/** Valid until the next call. */
function random(): Buffer {
  if (used >= pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += RANDOM_BYTES
  return pool.subarray(used - RANDOM_BYTES, used)
}

/** A container id for callers that name none: 12 hex digits, as docker shortens its own. */
export const randomContainerId = (): string => randomBytes(6).toString('hex')

/** Whether an id looks like one that was made up. */
export const isRandomContainerId = (id: string): boolean => /^[0-9a-f]{12}$/.test(id)

/**
 * containerd's identifier grammar: letters, digits and inner `-_.`, 76 bytes at most. Safe as a file name.
 *
 * @see containerd, identifiers/validate.go
 */
export const identifier = z
  .string()
  .max(IDENTIFIER_CHARACTERS_MAX, `an identifier has ${IDENTIFIER_CHARACTERS_MAX} characters at most`)
  .regex(IDENTIFIER_FORM, 'an identifier is letters and digits, joined by single . _ or - characters')

export const uuid = z.uuid()
