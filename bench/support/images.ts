import { existsSync } from 'node:fs'
import { startRegistry } from '../../test/support/registry.ts'
import { run } from './run.ts'

/** What scripts/images makes, without an argument. */
const LAYOUT = '/tmp/purser-images/oci'

export interface BenchRegistry extends AsyncDisposable {
  readonly address: string
  /** The reference of an image, as it is pulled. */
  reference(image: BenchImage): string
}

export type BenchImage = 'tiny:latest' | 'base:latest' | 'multi:gzip' | 'multi:zstd'

/** A registry on a loopback port with some of the images that scripts/images makes. */
export async function startBenchRegistry(images: readonly BenchImage[]): Promise<BenchRegistry> {
  const registry = await startRegistry()
  for (const image of images) await pushBenchImage(registry.address, image)
  const reference = (image: BenchImage) => `${registry.address}/bench/${image}`
  return { address: registry.address, reference, [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose]() }
}

export async function pushBenchImage(address: string, image: BenchImage): Promise<void> {
  if (!existsSync(LAYOUT)) throw new Error('there are no images to measure with: run scripts/images first')
  const from = `oci:${LAYOUT}:${image.replace(':', '_')}`
  const options = ['copy', '-q', '--preserve-digests', '--dest-tls-verify=false']
  await run('skopeo', [...options, from, `docker://${address}/bench/${image}`])
}
