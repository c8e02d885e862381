import { type Digest, digestOf } from '../model/digest.ts'
import { PurserError } from '../model/errors.ts'

/**
 * The chain ID of each layer: what the layers up to it amount to when they lie on each other.
 *
 * @param diffIds digests of the uncompressed tars, bottom layer first
 * @returns as many chain IDs, in the same order; the first one is the first diff ID itself
 * @see image-spec, config.md, "Layer ChainID"
 */
export function chainIds(diffIds: readonly Digest[]): Digest[] {
  const chain: Digest[] = []
  for (const diffId of diffIds) {
    const parent = chain.at(-1)
    chain.push(parent === undefined ? diffId : digestOf(`${parent} ${diffId}`))
  }
  return chain
}

/**
 * The chain ID of the top layer, which names the whole root filesystem.
 *
 * @throws PurserError invalid_argument when there is no layer: nothing has no chain ID
 */
export function chainIdOf(diffIds: readonly Digest[]): Digest {
  const top = chainIds(diffIds).at(-1)
  if (top !== undefined) return top
  throw new PurserError('invalid_argument', 'an image without layers has no chain ID', {
    remedy: 'use an image that has a layer',
  })
}
