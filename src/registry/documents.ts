import { createHash } from 'node:crypto'
import { type Digest, digestOf, isDigest, splitDigest } from '../model/digest.ts'
import { PurserError } from '../model/errors.ts'
import { type Descriptor, parseManifestDocument } from '../oci/manifest.ts'
import { isIndexType, isManifestType } from '../oci/media-types.ts'
import { readBody } from './bodies.ts'
import type { TransportResponse } from './transport.ts'

/** What a manifest, an index or a configuration may have at most. @see distribution-spec, "Pushing Manifests" */
export const DOCUMENT_BYTES_MAX = 4 * 1024 * 1024

export interface ResolvedImage {
  descriptor: Descriptor
  /** The document, its digest checked, where resolving has brought it along. */
  bytes?: Buffer
}

const AT_FAULT = 'the registry or a mirror is at fault: try another one, or push the image again'

/**
 * What the headers of a manifest say it is; undefined where they leave something out.
 *
 * @throws PurserError data_loss when they name another digest than the one asked for; resource_exhausted when it is too large
 */
export function describedBy(response: TransportResponse, expected: Digest | undefined): Descriptor | undefined {
  const mediaType = response.header('content-type')?.split(';', 1)[0]?.trim() ?? ''
  const length = response.header('content-length') ?? ''
  const digest = announcedDigest(response, expected) ?? expected
  if (digest === undefined || !/^\d{1,15}$/.test(length)) return undefined
  if (!isIndexType(mediaType) && !isManifestType(mediaType)) return undefined
  const sizeBytes = Number(length)
  if (sizeBytes > DOCUMENT_BYTES_MAX) throw manifestTooLarge(response.host, sizeBytes)
  return { mediaType, digest, sizeBytes }
}

/** A manifest as it came, its digest checked against all that is known of it. */
export async function documentIn(
  response: TransportResponse,
  expected: Digest | undefined,
  signal: AbortSignal,
): Promise<ResolvedImage> {
  const announced = announcedDigest(response, expected)
  const bytes = await readBody(response, DOCUMENT_BYTES_MAX, signal)
  for (const digest of [announced, expected]) if (digest) assertDigest(bytes, digest, response.host)
  const { mediaType } = parseManifestDocument(bytes, response.header('content-type'))
  return {
    descriptor: { mediaType, digest: expected ?? announced ?? digestOf(bytes), sizeBytes: bytes.length },
    bytes,
  }
}

/** @throws PurserError data_loss when it is of the expected digest's algorithm and differs */
function announcedDigest(response: TransportResponse, expected: Digest | undefined): Digest | undefined {
  const text = response.header('docker-content-digest')
  if (text === undefined || !isDigest(text)) return undefined
  if (expected && splitDigest(expected).algorithm === splitDigest(text).algorithm && text !== expected) {
    throw new PurserError('data_loss', `${response.host} answers with ${text} when asked for ${expected}`, {
      remedy: 'the registry or a mirror is at fault: try another one',
    })
  }
  return text
}

export function assertDigest(bytes: Uint8Array, digest: Digest, host: string): void {
  const { algorithm } = splitDigest(digest)
  const found = `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`
  if (found === digest) return
  throw new PurserError('data_loss', `${host} sends ${found} as ${digest}`, { remedy: AT_FAULT })
}

export function wrongSize(digest: Digest, sizeBytes: number): PurserError {
  const message = `${digest} should have ${sizeBytes} bytes, and the registry sends another number`
  return new PurserError('data_loss', message, { remedy: AT_FAULT })
}

function manifestTooLarge(host: string, sizeBytes: number): PurserError {
  const message = `${host} has a manifest of ${sizeBytes} bytes, more than the ${DOCUMENT_BYTES_MAX} allowed`
  return new PurserError('resource_exhausted', message, { remedy: 'use an image with a smaller manifest' })
}

/** Without one where all of the blob is wanted: not every server takes them. @see RFC 9110 section 14.2 */
export function rangeHeader(
  { offset, endBytes = Number.POSITIVE_INFINITY }: { offset: number; endBytes?: number },
  sizeBytes: number,
): Record<string, string> {
  if (endBytes < sizeBytes) return { range: `bytes=${offset}-${endBytes - 1}` }
  return offset === 0 ? {} : { range: `bytes=${offset}-` }
}

/** @see RFC 9110 section 8.8.3 */
export const strongEtag = (header: string | undefined): string | undefined =>
  header !== undefined && /^"[\x21\x23-\x7e]{1,256}"$/.test(header) ? header : undefined

/**
 * Where a blob's body begins.
 *
 * @throws PurserError data_loss when the answer cannot be that blob
 * @see RFC 9110 section 14.4
 */
export function beginOf(response: TransportResponse, digest: Digest, sizeBytes: number): number {
  const length = response.header('content-length')
  if (response.status !== 206) {
    if (length !== undefined && Number(length) !== sizeBytes) throw wrongSize(digest, sizeBytes)
    return 0
  }
  const [, begin, total] =
    /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15}|\*)$/.exec(response.header('content-range') ?? '') ?? []
  if (begin === undefined) {
    throw new PurserError('unavailable', `${response.host} sends a part of ${digest} without saying which`, {
      remedy: 'the registry or a mirror is at fault: try another one',
    })
  }
  if (total !== '*' && Number(total) !== sizeBytes) throw wrongSize(digest, sizeBytes)
  return Number(begin)
}
