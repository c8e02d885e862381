import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LayerToUnpack } from '../../src/unpack/unpack-layers.ts'
import { sha256 } from './tars.ts'
import { describeTree } from './trees.ts'
import type { Tree } from './unpacking.ts'

/**
 * What umoci makes of the layers.
 *
 * @param below a directory of the test; what is made in it is removed again
 * @throws where umoci refuses the layers
 */
export function unpackByUmoci(below: string, layers: readonly LayerToUnpack[], timeless: readonly string[]): Tree {
  const at = join(below, 'umoci')
  const blobs = join(at, 'oci/blobs/sha256')
  mkdirSync(blobs, { recursive: true })
  mkdirSync(join(at, 'out'))
  try {
    const blob = (document: object, mediaType: string) => {
      const bytes = Buffer.from(JSON.stringify(document))
      const digest = sha256(bytes)
      writeFileSync(join(blobs, digest.slice('sha256:'.length)), bytes)
      return { mediaType, digest, size: bytes.length }
    }
    for (const { path, digest } of layers) copyFileSync(path, join(blobs, digest.slice('sha256:'.length)))
    const rootfs = { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) }
    const config = blob(
      { architecture: 'amd64', os: 'linux', config: {}, rootfs },
      'application/vnd.oci.image.config.v1+json',
    )
    const mediaType = 'application/vnd.oci.image.layer.v1.tar+gzip'
    const descriptors = layers.map(({ digest, sizeBytes }) => ({ mediaType, digest, size: sizeBytes }))
    const manifest = blob(
      { schemaVersion: 2, config, layers: descriptors },
      'application/vnd.oci.image.manifest.v1+json',
    )
    const named = { ...manifest, annotations: { 'org.opencontainers.image.ref.name': 't' } }
    writeFileSync(join(at, 'oci/oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
    writeFileSync(join(at, 'oci/index.json'), JSON.stringify({ schemaVersion: 2, manifests: [named] }))
    execFileSync('umoci', ['raw', 'unpack', '--image', 'oci:t', 'out/rootfs'], { cwd: at, stdio: 'pipe' })
    return describeTree(join(at, 'out/rootfs'), timeless)
  } finally {
    rmSync(at, { recursive: true, force: true })
  }
}
