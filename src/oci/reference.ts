import { isIPv6 } from 'node:net'
import { type Digest, isDigest } from '../model/digest.ts'
import { PurserError } from '../model/errors.ts'

/** A normalised image reference: it has a registry, and a tag or a digest or both; the digest decides when both are there. */
export interface ImageReference {
  /** `host` or `host:port`, an IPv6 address in brackets; `docker.io` where none was given. */
  readonly registry: string
  /** The path in the registry, `library/` included. */
  readonly repository: string
  readonly tag?: string
  readonly digest?: Digest
}

export const DEFAULT_REGISTRY = 'docker.io'
const DEFAULT_TAG = 'latest'

const HOST = /^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*$/
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/
const REPOSITORY_CHARACTERS_MAX = 255
const HOST_CHARACTERS_MAX = 253
// Host, port, repository, tag and a sha512 digest at their longest, with room: what is longer is not looked at.
const REFERENCE_CHARACTERS_MAX = 1024

/**
 * Reads a reference as Docker does: `hello-world`, `user/app:1`, `localhost:5000/app@sha256:…`.
 *
 * @throws PurserError invalid_argument, naming the text and the part at fault
 * @see distribution, docs/spec/api.md, "Overview"; github.com/distribution/reference, regexp.go and normalize.go
 */
export function parseReference(text: string): ImageReference {
  if (text === '') throw malformed(text, 'it is empty')
  if (text.length > REFERENCE_CHARACTERS_MAX) {
    throw malformed(text, `it has more than ${REFERENCE_CHARACTERS_MAX} characters`)
  }
  if (/^[0-9a-f]{64}$/.test(text)) throw malformed(text, '64 hex digits are an image ID, not a name')

  const at = text.indexOf('@')
  const digest = at < 0 ? undefined : text.slice(at + 1)
  const named = at < 0 ? text : text.slice(0, at)
  if (digest !== undefined && !isDigest(digest)) {
    throw malformed(text, `${JSON.stringify(digest)} is not a digest (sha256: and 64 lower-case hex digits)`)
  }

  const { registry, rest } = splitRegistry(named)
  checkRegistry(text, registry)
  const colon = rest.indexOf(':')
  const path = colon < 0 ? rest : rest.slice(0, colon)
  const tag = colon < 0 ? undefined : rest.slice(colon + 1)
  if (tag !== undefined && !TAG.test(tag)) {
    throw malformed(text, `the tag ${JSON.stringify(tag)} is not 1 to 128 letters, digits and _ . -`)
  }

  const repository = registry === DEFAULT_REGISTRY && path !== '' && !path.includes('/') ? `library/${path}` : path
  checkRepository(text, repository)
  if (digest === undefined) return { registry, repository, tag: tag ?? DEFAULT_TAG }
  return tag === undefined ? { registry, repository, digest } : { registry, repository, tag, digest }
}

/** The canonical full name, such as `docker.io/library/hello-world:latest`; `parseReference` gives the same back. */
export function formatReference({ registry, repository, tag, digest }: ImageReference): string {
  return `${registry}/${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`
}

/** Registry and repository, without tag and digest. */
export const formatRepository = ({ registry, repository }: ImageReference): string => `${registry}/${repository}`

/** What stands before the first slash is a registry only if it cannot be the first part of a repository on docker.io. */
function splitRegistry(named: string): { registry: string; rest: string } {
  const slash = named.indexOf('/')
  const first = slash < 0 ? '' : named.slice(0, slash)
  const isRegistry =
    slash >= 0 && (/[.:]/.test(first) || first === 'localhost' || first.toLowerCase() !== first || first === '')
  if (!isRegistry) return { registry: DEFAULT_REGISTRY, rest: named }
  return { registry: first === 'index.docker.io' ? DEFAULT_REGISTRY : first, rest: named.slice(slash + 1) }
}

function checkRegistry(text: string, registry: string): void {
  const [, host = '', port] = /^(\[[^\]]*\]|[^:]*)(?::([0-9]{1,5}))?$/.exec(registry) ?? []
  const hostHolds = host.startsWith('[')
    ? /^\[[0-9A-Fa-f:.]+\]$/.test(host) && isIPv6(host.slice(1, -1))
    : host.length <= HOST_CHARACTERS_MAX && HOST.test(host)
  if (!hostHolds || (port !== undefined && Number(port) > 65535)) {
    throw malformed(text, `${JSON.stringify(registry)} is not a registry's host or host:port`)
  }
}

function checkRepository(text: string, repository: string): void {
  if (repository.length > REPOSITORY_CHARACTERS_MAX) {
    throw malformed(text, `the repository has more than ${REPOSITORY_CHARACTERS_MAX} characters`)
  }
  if (REPOSITORY.test(repository)) return
  const lowered = repository.toLowerCase()
  if (REPOSITORY.test(lowered)) throw malformed(text, 'a repository has no upper-case letters')
  throw malformed(
    text,
    `the repository ${JSON.stringify(repository)} is not lower-case letters and digits joined by . _ - /`,
  )
}

function malformed(text: string, why: string): PurserError {
  return new PurserError('invalid_argument', `${JSON.stringify(shortened(text))} is not an image reference: ${why}`, {
    remedy: 'write [registry[:port]/]repository[:tag][@digest], such as docker.io/library/alpine:3.20',
  })
}

const shortened = (text: string): string => (text.length > 300 ? `${text.slice(0, 300)}…` : text)
