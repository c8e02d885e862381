import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ExtractRequest, LayerPool } from '../../src/layers/pool.ts'
import type { LayerResult } from '../../src/layers/protocol.ts'
import { temporaryDirectory } from './trees.ts'

export interface TestExtractor extends AsyncDisposable {
  readonly path: string
  readonly pool: LayerPool
  /** Writes the bytes to a file and extracts it to a directory below `path`, made when it is not there. */
  extract(
    layer: Buffer,
    more?: Partial<ExtractRequest> & { name?: string; signal?: AbortSignal },
  ): Promise<LayerResult & { target: string }>
}

/** A pool of one thread, and a directory to extract to. */
export function startExtractor(threads = 1): TestExtractor {
  const directory = temporaryDirectory()
  const pool = new LayerPool({ threads })
  let layers = 0
  return {
    path: directory.path,
    pool,
    async extract(layer, { name = 'root', signal = AbortSignal.timeout(60_000), ...more } = {}) {
      layers += 1
      const source = { path: join(directory.path, `layer-${layers}`), sizeBytes: layer.length }
      writeFileSync(source.path, layer)
      const target = join(directory.path, name)
      mkdirSync(target, { recursive: true })
      return { target, ...(await pool.extract({ source, target, whiteouts: 'ignore', ...more }, signal)) }
    },
    async [Symbol.asyncDispose]() {
      await pool.close()
      directory[Symbol.dispose]()
    },
  }
}
