import { closeSync } from 'node:fs'
import { type ByteString, cPath } from '../host/byte-paths.ts'
import { copyDirectoryAttributes, modifiedAt, setModifiedAt } from '../host/copy-attributes.ts'
import { mountTemporarily } from '../host/mounts.ts'
import { AT_FDCWD, errnoOf, O, openat, openat2, RESOLVE, unlinkat } from '../host/syscalls.ts'
import type { AvailableBytes } from '../layers/available-bytes.ts'
import type { LayerPool, LayerRoom } from '../layers/pool.ts'
import type { LayerResult } from '../layers/protocol.ts'
import { type Digest, splitDigest } from '../model/digest.ts'
import { PurserError } from '../model/errors.ts'
import type { Snapshotter } from '../snapshotters/snapshotter.ts'
import { findBelow, isWhiteout, statusOf } from './lower-layers.ts'

export interface LayerToUnpack {
  digest: Digest
  diffId: Digest
  sizeBytes: number
  /** The compressed file, and how much of it is there while it is being fetched. */
  path: string
  available?: AvailableBytes
  /** Smaller is more urgent: it gets a thread before others. */
  priority?: number
  /** Disk space for what it unpacks to. */
  room?: LayerRoom | undefined
}

export interface Unpacker {
  pool: LayerPool
  snapshotter: Snapshotter
  /** For mounts that are needed for a moment. */
  runDir: string
}

/**
 * Extracts a layer into a new directory by itself, whatever is known of the layers below it. Nothing is checked against
 * them yet: {@link joinLayer} does that when they are there.
 *
 * @throws PurserError data_loss when the bytes are not what digest and diff ID say
 */
export async function extractAlone(
  { pool, snapshotter }: Unpacker,
  layer: LayerToUnpack,
  dir: string,
  position: 'bottom' | 'above',
  signal: AbortSignal,
): Promise<LayerResult> {
  await snapshotter.create(dir, 'active', [], signal)
  const target = directoryOf(snapshotter, dir)
  const result = await pool.extract(
    { ...requestFor(layer), target, whiteouts: position === 'bottom' ? 'ignore' : 'overlay' },
    signal,
  )
  checkDigests(layer, result)
  return result
}

/**
 * Makes a layer that was extracted alone what it would be had it been extracted on top of its parents: directories it only
 * passes through look as they do below; where it writes through a link of a lower layer it is extracted again, on them.
 * Then it is committed.
 *
 * @param parents directories of the layers below, topmost first
 * @param complete path of the whole compressed file
 */
export async function joinLayer(
  unpacker: Unpacker,
  layer: LayerToUnpack,
  dir: string,
  alone: LayerResult,
  parents: readonly string[],
  complete: string,
  signal: AbortSignal,
): Promise<void> {
  const { snapshotter } = unpacker
  const below = parents.map((parent) => directoryOf(snapshotter, parent))
  const found = alone.implicitParents.map((path) => ({ path, lower: findBelow(below, path) }))
  // A file there gives way to an entry, but not to a whiteout.
  if (alone.needsParents || found.some(({ lower }) => lower.what === 'symlink' || lower.what === 'other')) {
    await snapshotter.remove(dir, signal)
    await extractOnParents(unpacker, { ...layer, path: complete }, dir, parents, signal)
    return
  }
  const target = directoryOf(snapshotter, dir)
  removeVainWhiteouts(target, alone.whiteouts, below)
  for (const { path, lower } of found) {
    if (lower.what !== 'directory') continue
    // A later entry of the layer may have put something else there, also a symlink that leads anywhere.
    using own = openDirectory(target, path)
    if (own) copyDirectoryAttributes(lower.path, own.path)
  }
  await snapshotter.commit(dir, signal)
}

function directoryOf(snapshotter: Snapshotter, dir: string): string {
  const target = snapshotter.layerTarget(dir)
  if (target.placement === 'alone') return target.path
  throw new PurserError('internal', `the snapshotter ${snapshotter.name} takes layers only on their parents`)
}

/**
 * A directory below another one, with no symlink on the way; undefined when there is none.
 *
 * @returns its descriptor, and a path of it that leads nowhere else, whatever is renamed
 */
function openDirectory(root: string, path: ByteString): (Disposable & { fd: number; path: ByteString }) | undefined {
  const top = openat(AT_FDCWD, root, O.PATH | O.DIRECTORY)
  try {
    const fd = openat2(top, cPath(path || '.'), O.DIRECTORY, RESOLVE.IN_ROOT | RESOLVE.NO_SYMLINKS)
    return { fd, path: `/proc/self/fd/${fd}/.`, [Symbol.dispose]: () => closeSync(fd) }
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) return undefined
    throw error
  } finally {
    closeSync(top)
  }
}

/** Where no lower layer has the directory, overlayfs does not merge, and shows a whiteout as an entry that is not there. */
function removeVainWhiteouts(target: string, whiteouts: readonly ByteString[], below: readonly string[]): void {
  const byParent = Map.groupBy(whiteouts, (path) => path.slice(0, Math.max(0, path.lastIndexOf('/'))))
  for (const [parent, paths] of byParent) {
    using own = openDirectory(target, parent)
    if (!own || findBelow(below, parent).what === 'directory') continue
    const vain = paths
      .map((path) => path.slice(path.lastIndexOf('/') + 1))
      .filter((name) => {
        const status = statusOf(`${own.path}/${name}`)
        return status !== undefined && isWhiteout(status)
      })
    if (vain.length === 0) continue
    const modified = modifiedAt(own.path)
    for (const name of vain) unlinkat(own.fd, cPath(name))
    setModifiedAt(own.path, modified)
  }
}

/** Extracts a complete layer where its parents can be seen, and commits it. */
export async function extractOnParents(
  { pool, snapshotter, runDir }: Unpacker,
  layer: LayerToUnpack,
  dir: string,
  parents: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  await snapshotter.create(dir, 'active', parents, signal)
  await applyLayer({ pool, snapshotter, runDir }, layer, dir, parents, 'unpacking', signal)
  await snapshotter.commit(dir, signal)
}

/** Extracts a complete layer into an active snapshot, on top of all that it shows. */
export async function applyLayer(
  { pool, snapshotter, runDir }: Unpacker,
  layer: Omit<LayerToUnpack, 'diffId'> & { diffId?: Digest | undefined },
  dir: string,
  parents: readonly string[],
  kind: 'active' | 'unpacking',
  signal: AbortSignal,
): Promise<LayerResult> {
  const mounts = await snapshotter.mounts(dir, kind, parents, signal)
  await using merged = await mountTemporarily(mounts, runDir, signal)
  const result = await pool.extract({ ...requestFor(layer), target: merged.path, whiteouts: 'apply' }, signal)
  checkDigests(layer, result)
  return result
}

function requestFor({ path, sizeBytes, digest, available, priority, room }: Omit<LayerToUnpack, 'diffId'>) {
  return {
    source: { path, sizeBytes, algorithm: splitDigest(digest).algorithm },
    ...(available === undefined ? {} : { available }),
    ...(priority === undefined ? {} : { priority }),
    ...(room === undefined ? {} : { room }),
  } as const
}

function checkDigests(
  layer: { digest: Digest; diffId?: Digest | undefined },
  result: Pick<LayerResult, 'digest' | 'diffId'>,
): void {
  if (result.digest !== layer.digest) {
    throw new PurserError('data_loss', `layer ${layer.digest} arrived as ${result.digest}`, {
      remedy: 'pull again; if it stays so, the registry or a proxy alters it',
    })
  }
  if (layer.diffId !== undefined && result.diffId !== layer.diffId) {
    throw new PurserError('data_loss', `layer ${layer.digest} unpacks to ${result.diffId}, not to ${layer.diffId}`, {
      remedy: "the image's configuration is wrong: have it built again",
    })
  }
}
