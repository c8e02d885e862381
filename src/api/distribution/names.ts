import { type ImageState, image } from '../../commands/image.ts'
import type { View } from '../../model/aggregate.ts'
import { isDigest } from '../../model/digest.ts'
import { errorCodeOf, PurserError } from '../../model/errors.ts'
import { DEFAULT_REGISTRY, type ImageReference, parseReference } from '../../oci/reference.ts'

/** A repository as a client names it here, and which ones that can mean. */
export interface AskedRepository {
  /** As it stands in the path. */
  name: string
  /** The registry it is a mirror of, where the client says so, as containerd does. */
  registry: string | undefined
}

/**
 * What a name may stand for, the likeliest first: a repository of the registry that is named, in `ns` or as the first part of
 * the path, or else of docker.io.
 */
export function candidatesFor({ name, registry }: AskedRepository, reference: string): ImageReference[] {
  const suffix = isDigest(reference) ? `@${reference}` : `:${reference}`
  if (registry !== undefined) return parsed(`${registry}/${name}${suffix}`)
  const explicit = name.includes('/') ? parsed(`${name}${suffix}`) : []
  const docker = parsed(`${DEFAULT_REGISTRY}/${name}${suffix}`)
  return [...explicit, ...docker.filter((each) => each.registry !== explicit[0]?.registry)]
}

/** The image of this name, or, where no registry is named, of one that ends so, the first in the order of names. */
export function findImage(
  view: View,
  namespace: string,
  asked: AskedRepository,
  tag: string,
): Extract<ImageState, { status: 'present' }> | undefined {
  const candidates = candidatesFor(asked, tag)
  const found = new Map<string, Extract<ImageState, { status: 'present' }>>()
  for (const { id, state } of view.list(image, namespace)) {
    if (state.status !== 'present') continue
    const reference = parseReference(id)
    if (reference.tag !== tag) continue
    const exact = candidates.findIndex((each) => isSameRepository(each, reference))
    if (exact >= 0) found.set(`0${exact}`, state)
    else if (asked.registry === undefined && reference.repository === asked.name) found.set(`1${id}`, state)
  }
  const [best] = [...found.keys()].sort()
  return best === undefined ? undefined : found.get(best)
}

/** Tags of a repository that are here, sorted. */
export function tagsOf(view: View, namespace: string, asked: AskedRepository): string[] {
  const candidates = candidatesFor(asked, 'latest')
  const tags = new Set<string>()
  for (const { id, state } of view.list(image, namespace)) {
    if (state.status !== 'present') continue
    const reference = parseReference(id)
    const isMeant =
      candidates.some((each) => isSameRepository(each, reference)) ||
      (asked.registry === undefined && reference.repository === asked.name)
    if (isMeant && reference.tag !== undefined) tags.add(reference.tag)
  }
  return [...tags].sort()
}

const isSameRepository = (one: ImageReference, other: ImageReference): boolean =>
  one.registry === other.registry && one.repository === other.repository

function parsed(text: string): ImageReference[] {
  try {
    return [parseReference(text)]
  } catch (error) {
    if (error instanceof PurserError && errorCodeOf(error) === 'invalid_argument') return []
    throw error
  }
}
