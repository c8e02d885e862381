import { existsSync } from 'node:fs'
import { pushTinyImage } from '../../scripts/tiny-image.ts'
import { startRegistry } from '../../test/support/registry.ts'
import { run } from './run.ts'

/** What scripts/images makes, without an argument. */
const LAYOUT = '/tmp/purser-images/oci'

export interface BenchRegistry extends AsyncDisposable {
  /** The reference of an image, as it is pulled. */
  reference(image: BenchImage): string
}

export type BenchImage = 'tiny:latest' | 'multi:gzip' | 'multi:zstd'

/** A registry on a loopback port with busybox alone, or with images that scripts/images makes. */
export async function startBenchRegistry(images: readonly BenchImage[]): Promise<BenchRegistry> {
  const registry = await startRegistry()
  const reference = (image: BenchImage) => `${registry.address}/bench/${image}`
  for (const image of images) {
    if (image === 'tiny:latest') {
      await pushTinyImage({ registry: registry.address, repository: 'bench/tiny', tag: 'latest' })
      continue
    }
    if (!existsSync(LAYOUT)) throw new Error('there are no images to measure with: run scripts/images first')
    const from = `oci:${LAYOUT}:${image.replace(':', '_')}`
    await run('skopeo', [
      'copy',
      '-q',
      '--preserve-digests',
      '--dest-tls-verify=false',
      from,
      `docker://${reference(image)}`,
    ])
  }
  return { reference, [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose]() }
}
