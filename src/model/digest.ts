import { createHash } from 'node:crypto'
import { z } from 'zod'
import { PurserError } from './errors.ts'

/**
 * A content digest, `sha256:` or `sha512:` and the lower-case hex of that length. Stricter than the grammar of the
 * image spec, which leaves room for algorithms that nobody registers.
 *
 * @see image-spec, descriptor.md, "Digests"
 */
export type Digest = `sha256:${string}` | `sha512:${string}`

const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/

export const isDigest = (text: string): text is Digest => DIGEST.test(text)

export const digestSchema = z
  .string()
  .regex(DIGEST, 'a digest is sha256: and 64, or sha512: and 128, lower-case hex digits')
  .transform((text) => text as Digest)

/** @throws PurserError invalid_argument */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text
  throw new PurserError('invalid_argument', `${JSON.stringify(text.slice(0, 160))} is not a digest`, {
    remedy: 'a digest is sha256: and 64 lower-case hex digits',
  })
}

/** The parts of a digest; `hex` is safe as a file name. */
export function splitDigest(digest: Digest): { algorithm: 'sha256' | 'sha512'; hex: string } {
  return { algorithm: digest.startsWith('sha256:') ? 'sha256' : 'sha512', hex: digest.slice(7) }
}

export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}
