import { content, sourceLabels } from '../../commands/content.ts'
import type { LayerResult } from '../../layers/protocol.ts'
import { chainIds } from '../../oci/chain-id.ts'
import type { Descriptor } from '../../oci/manifest.ts'
import type { ImageReference } from '../../oci/reference.ts'
import type { CommandProgress, LayerProgress } from '../../projections/progress.ts'
import type { LayerToUnpack } from '../../unpack/unpack-layers.ts'

/** A layer of the image that is being pulled. */
export interface Layer extends LayerToUnpack {
  descriptor: Descriptor
  chainId: string
  progress: LayerProgress
  /** Where it is extracted to by itself, and in the end what that showed; undefined when its snapshot is there. */
  unpacking?: { dir: string; claim: Disposable; alone?: LayerResult }
  /** That it is stored, and extracted where that can be done without its parents. */
  readonly ready: PromiseWithResolvers<void>
  fetchedBytes: number
  /** Whether it was not there, whoever has fetched it. */
  isAwaited: boolean
  isFetchedAgain?: true
}

export function layersOf(
  descriptors: readonly Descriptor[],
  diffIds: readonly Layer['diffId'][],
  progress: CommandProgress,
): Layer[] {
  const chain = chainIds(diffIds)
  return descriptors.flatMap((descriptor, index) => {
    const { digest, sizeBytes } = descriptor
    const [diffId, chainId] = [diffIds[index], chain[index]]
    if (diffId === undefined || chainId === undefined) return []
    const shown: LayerProgress = { digest, sizeBytes, fetchedBytes: 0, phase: 'waiting' }
    progress.layers.push(shown)
    const layer: Layer = {
      descriptor,
      digest,
      sizeBytes,
      diffId,
      chainId,
      path: '',
      progress: shown,
      ready: Promise.withResolvers(),
      fetchedBytes: 0,
      isAwaited: false,
    }
    return [layer]
  })
}

export const bare = ({ mediaType, digest, sizeBytes }: Descriptor) => ({ mediaType, digest, sizeBytes })

/** Also for what is there already: that it is relied on keeps collection away from it. */
export const contentFact = ({ digest, sizeBytes, mediaType }: Descriptor, source: ImageReference) =>
  content.fact(digest, 'content.committed', { sizeBytes, mediaType, labels: sourceLabels(source) })
