import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { checkpointOf } from '../../../commands/checkpoints.ts'
import { containers } from '../../../commands/container.ts'
import { byteString } from '../../../host/byte-paths.ts'
import { plainFile } from '../../../layers/tar/header.ts'
import { encodeHeader, paddingAfter, TAR_END } from '../../../layers/tar/writer.ts'
import type { View } from '../../../model/aggregate.ts'
import type { Digest } from '../../../model/digest.ts'
import { PurserError } from '../../../model/errors.ts'
import type { NodeSignatures } from '../../../secrets/node-signatures.ts'
import type { TaskPaths } from '../paths.ts'
import { MANIFEST_NAME, signedManifest } from './archive.ts'
import { CheckpointFiles } from './checkpoint-files.ts'

const PIECE_BYTES = 256 * 1024

export interface CheckpointArchivesOptions {
  view: View
  paths: TaskPaths
  signatures: NodeSignatures
}

/** Checkpoints on their way to another node. */
export class CheckpointArchives {
  readonly #options: CheckpointArchivesOptions

  constructor(options: CheckpointArchivesOptions) {
    this.#options = options
  }

  /** @throws PurserError not_found; failed_precondition for one without its files, before the first byte */
  async *read(
    namespace: string,
    id: string,
    name: string,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, void> {
    const { view, paths, signatures } = this.#options
    const made = view.get(containers, namespace, id)
    const found = made.status === 'absent' ? undefined : checkpointOf(made, name)
    if (made.status === 'absent' || found === undefined) {
      throw new PurserError('not_found', `container ${id} has no checkpoint ${name} in namespace ${namespace}`, {
        remedy: `purser checkpoint ls ${id}`,
      })
    }
    if (found.files !== 'keep') {
      throw new PurserError('failed_precondition', `checkpoint ${name} of container ${id} has no files of it`, {
        remedy: 'make one with purser checkpoint create --with-files',
      })
    }
    const { runtime, criu, architecture } = found
    const stored = await new CheckpointFiles(paths.checkpoints(namespace, id), name).list()
    const files = []
    for (const file of stored) files.push({ name: file.name, ...(await hashed(file.path, signal)) })
    const manifest = signedManifest({ imageConfig: made.config, runtime, criu, architecture, files }, signatures)
    yield headerOf(MANIFEST_NAME, manifest.length)
    yield manifest
    yield paddingAfter(manifest.length)
    for (const [index, { path }] of stored.entries()) {
      const { name: entry, sizeBytes } = files[index] ?? { name: '', sizeBytes: 0 }
      yield headerOf(entry, sizeBytes)
      yield* createReadStream(path, { highWaterMark: PIECE_BYTES, signal })
      yield paddingAfter(sizeBytes)
    }
    yield TAR_END
  }
}

async function hashed(path: string, signal: AbortSignal): Promise<{ sizeBytes: number; digest: Digest }> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path, { highWaterMark: PIECE_BYTES }), hash, { signal })
  return { sizeBytes: (await stat(path)).size, digest: `sha256:${hash.digest('hex')}` }
}

const headerOf = (name: string, sizeBytes: number): Buffer =>
  encodeHeader(plainFile(byteString(name), { mode: 0o600, sizeBytes }))
