import { randomBytes } from 'node:crypto'
import { z } from 'zod'

let lastMs = 0
let sequence = 0

/**
 * A UUID of version 7: sortable by time, and within one millisecond by a counter.
 *
 * @see RFC 9562 section 5.7 and 6.2 (method 1)
 */
export function uuidv7(nowMs = Date.now()): string {
  if (nowMs > lastMs) {
    lastMs = nowMs
    sequence = randomBytes(2).readUInt16BE() & 0x7ff
  } else if (++sequence > 0xfff) {
    lastMs += 1
    sequence = 0
  }
  const bytes = randomBytes(16)
  bytes.writeUIntBE(lastMs, 0, 6)
  bytes.writeUInt16BE(0x7000 | sequence, 6)
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f)
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
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
  .max(76, 'an identifier has 76 characters at most')
  .regex(
    /^[A-Za-z0-9]+(?:[._-](?:[A-Za-z0-9]+))*$/,
    'an identifier is letters and digits, joined by single . _ or - characters',
  )

export const uuid = z.uuid()
