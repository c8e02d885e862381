import { formatRepository, type ImageReference } from './reference.ts'

/**
 * Whether a pattern is of an image's registry and repository.
 *
 * @param pattern `registry/repository`; `*` is any part between slashes, `**` any number of parts that follow
 */
export function matchesReference(pattern: string, ref: ImageReference): boolean {
  const source = pattern
    .split('/')
    .map((segment) => (segment === '**' ? '.+' : segment.split('*').map(RegExp.escape).join('[^/]*')))
    .join('/')
  return new RegExp(`^${source}$`).test(formatRepository(ref))
}
