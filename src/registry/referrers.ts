import type { Digest } from '../model/digest.ts'
import { PurserError } from '../model/errors.ts'
import { type FullDescriptor, parseManifestDocument } from '../oci/manifest.ts'
import { MEDIA_TYPES } from '../oci/media-types.ts'
import { readBody } from './bodies.ts'
import { DOCUMENT_BYTES_MAX } from './documents.ts'
import type { Repository } from './repository.ts'
import { statusFailure } from './status.ts'
import type { TransportResponse } from './transport.ts'

/** What refers to an image: signatures, attestations, SBOMs. */
export interface Referrers {
  /** What they refer to. */
  subject: Digest
  referrers: FullDescriptor[]
  /** Whether the registry's API tells them, or the tag that stands in for it. */
  source: 'api' | 'tag'
  /** Whether there are more than are asked for. */
  isComplete: boolean
}

const PAGES_MAX = 20

/**
 * The artifacts that refer to an image by its digest, as its registry knows them.
 *
 * @param artifactType only those of this type
 * @throws PurserError as a pull does; invalid_argument when the registry's answer is no index
 * @see distribution-spec, "Listing Referrers" and "Referrers Tag Schema"
 */
export async function listReferrers(
  repository: Repository,
  artifactType: string | undefined,
  signal: AbortSignal,
): Promise<Referrers> {
  const subject = repository.ref.digest ?? (await repository.resolve(signal)).descriptor.digest
  const isWanted = (each: FullDescriptor) => artifactType === undefined || each.artifactType === artifactType
  const headers = { accept: MEDIA_TYPES.ociIndex }
  const query: Record<string, string> = artifactType === undefined ? {} : { artifactType }
  const found: FullDescriptor[] = []
  let next: { path: string | URL; query?: Record<string, string> } | undefined = { path: `referrers/${subject}`, query }
  for (let page = 0; next; page++) {
    if (page === PAGES_MAX) return { subject, referrers: found, source: 'api', isComplete: false }
    const response = await repository.send('resolve', { ...next, method: 'GET', headers }, signal)
    if (response.status !== 200) {
      if (page > 0 || response.status === 403) throw await refused(repository, response, signal)
      response.drop()
      return await byTag(repository, subject, isWanted, signal)
    }
    next = nextPage(response)
    found.push(...(await listed(response, signal)).filter(isWanted))
  }
  return { subject, referrers: found, source: 'api', isComplete: true }
}

/** What clients keep on registries that have no such API. */
async function byTag(
  repository: Repository,
  subject: Digest,
  isWanted: (each: FullDescriptor) => boolean,
  signal: AbortSignal,
): Promise<Referrers> {
  const headers = { accept: MEDIA_TYPES.ociIndex }
  const path = `manifests/${subject.replace(':', '-')}`
  const response = await repository.send('resolve', { path, method: 'GET', headers }, signal)
  if (response.status === 200) {
    const referrers = (await listed(response, signal)).filter(isWanted)
    return { subject, referrers, source: 'tag', isComplete: true }
  }
  if (response.status !== 404) throw await refused(repository, response, signal)
  response.drop()
  return { subject, referrers: [], source: 'tag', isComplete: true }
}

async function listed(response: TransportResponse, signal: AbortSignal): Promise<FullDescriptor[]> {
  const bytes = await readBody(response, DOCUMENT_BYTES_MAX, signal)
  const document = parseManifestDocument(bytes, response.header('content-type'))
  if (document.kind === 'index') return document.manifests
  throw new PurserError('invalid_argument', `${response.host} answers with a manifest where referrers are asked for`, {
    remedy: 'the registry is at fault: ask those who run it',
  })
}

/** @see RFC 8288; a page elsewhere is not gone to */
function nextPage(response: TransportResponse): { path: URL } | undefined {
  const target = /<([^<>]{1,4096})>\s*;[^,]*\brel="?next"?/.exec(response.header('link') ?? '')?.[1]
  const path = target === undefined ? undefined : URL.parse(target, response.url)
  return path && path.origin === response.url.origin ? { path } : undefined
}

async function refused({ ref }: Repository, response: TransportResponse, signal: AbortSignal): Promise<unknown> {
  if (response.status !== 403) return await statusFailure(response, `the registry ${response.host}`, signal)
  response.drop()
  return new PurserError('permission_denied', `${ref.registry} denies access to ${ref.repository}`, {
    remedy: `docker login ${ref.registry} as someone who may pull it (purser reads ~/.docker/config.json)`,
  })
}
