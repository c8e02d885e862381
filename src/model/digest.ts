import { createHash } from 'node:crypto'
import { z } from 'zod'
import { PurserError } from './errors.ts'

export const DIGEST_ALGORITHMS = ['sha256', 'sha384', 'sha512'] as const

/**
 * A content digest, `sha256:`, `sha384:` or `sha512:` and the lower-case hex of that length. Stricter than the grammar of the
 * image spec, which leaves room for algorithms that nobody registers.
 *
 * @see image-spec, descriptor.md, "Digests"
 */
export type DigestAlgorithm = (typeof DIGEST_ALGORITHMS)[number]
export type Digest = `${DigestAlgorithm}:${string}`

const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$/

export const isDigest = (text: string): text is Digest => DIGEST.test(text)

export const digestSchema = z
  .string()
  .regex(DIGEST, 'a digest is sha256: and 64, sha384: and 96, or sha512: and 128, lower-case hex digits')
  .transform((text) => text as Digest)

/** @throws PurserError invalid_argument */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text
  throw new PurserError('invalid_argument', `${JSON.stringify(text.slice(0, 160))} is not a digest`, {
    remedy: 'a digest is sha256: and 64 lower-case hex digits',
  })
}

/** The parts of a digest; `hex` is safe as a file name. */
export function splitDigest(digest: Digest): { algorithm: DigestAlgorithm; hex: string } {
  const algorithm = DIGEST_ALGORITHMS.find((each) => digest.startsWith(each)) ?? 'sha256'
  return { algorithm, hex: digest.slice(algorithm.length + 1) }
}

export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}
