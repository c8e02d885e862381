import { z } from 'zod'
import { PurserError } from '../model/errors.ts'
import type { Archive } from './archive.ts'
import { type Checkpoint, openCheckpoint } from './checkpoint.ts'
import { positionOf } from './lines.ts'
import {
  consistencyPath,
  hashOver,
  inclusionPath,
  isConsistent,
  leafHash,
  nodeHash,
  rootOfInclusion,
  type SubtreeHash,
} from './merkle.ts'
import type { Verifier } from './note.ts'
import { TILE_LEAVES } from './tree-file.ts'

const hashes = z.array(z.base64()).max(128)

/** All that a third party needs, besides the node's public key, to see that an event is in the log. */
export const inclusionProof = z.strictObject({
  type: z.literal('purser-inclusion-proof/1'),
  position: z.int().positive(),
  /** The event's line in the archive, byte for byte: its leaf. */
  event: z.string(),
  path: hashes,
  checkpoint: z.string(),
})
export type InclusionProof = z.output<typeof inclusionProof>

export const consistencyProof = z.strictObject({
  type: z.literal('purser-consistency-proof/1'),
  oldCheckpoint: z.string(),
  checkpoint: z.string(),
  path: hashes,
})
export type ConsistencyProof = z.output<typeof consistencyProof>

/** @throws PurserError out_of_range when the event is not sealed, or was dropped by retention */
export async function proveInclusion(archive: Archive, position: number): Promise<InclusionProof> {
  if (position < archive.first || position > archive.last)
    throw new PurserError('out_of_range', `event ${position} is not among ${archive.first} to ${archive.last}`, {
      remedy: position > archive.last ? 'purser log seal' : 'retention has dropped it',
    })
  const checkpoint = archive.checkpoint
  const size = archive.last
  const subtree = await subtreesOf(archive, size, [position - 1])
  const path = inclusionPath(position - 1, size, subtree)
  for await (const { line } of archive.read(position - 1, position)) {
    return { type: 'purser-inclusion-proof/1', position, event: line.toString(), path: encoded(path), checkpoint }
  }
  throw new PurserError('data_loss', `event ${position} is missing in the archive`)
}

/** @returns the event that is proved to be in the log, and the head it is in */
export function checkInclusion(
  proof: unknown,
  verifier: Verifier,
): { position: number; event: unknown; head: Checkpoint } {
  const { position, event, path, checkpoint } = parseProof(inclusionProof, proof)
  const head = openCheckpoint(checkpoint, verifier)
  const root = rootOfInclusion(leafHash(event), position - 1, head.size, decoded(path))
  if (root === undefined || !root.equals(head.root) || positionOf(Buffer.from(event)) !== position)
    throw new PurserError('data_loss', `the proof does not lead from event ${position} to the signed root`, {
      remedy: 'the event, the path or the position was altered',
    })
  return { position, event: JSON.parse(event), head }
}

/** Proves that the log as it is begins with the log as it was. */
export async function proveConsistency(
  archive: Archive,
  oldCheckpoint: string,
  verifier: Verifier,
): Promise<ConsistencyProof> {
  const old = openCheckpoint(oldCheckpoint, verifier)
  if (old.size > archive.last)
    throw new PurserError('data_loss', `the old checkpoint is of ${old.size} events, the log has ${archive.last}`, {
      remedy: 'events were lost or removed since that checkpoint was signed',
    })
  const checkpoint = archive.checkpoint
  const subtree = await subtreesOf(archive, archive.last, old.size % TILE_LEAVES === 0 ? [] : [old.size])
  const path = encoded(consistencyPath(old.size, archive.last, subtree))
  return { type: 'purser-consistency-proof/1', oldCheckpoint, checkpoint, path }
}

/** @throws PurserError data_loss when the newer log does not begin with the older one */
export function checkConsistency(proof: unknown, verifier: Verifier): { old: Checkpoint; head: Checkpoint } {
  const { oldCheckpoint, checkpoint, path } = parseProof(consistencyProof, proof)
  const old = openCheckpoint(oldCheckpoint, verifier)
  const head = openCheckpoint(checkpoint, verifier)
  if (!isConsistent(old, head, decoded(path)))
    throw new PurserError('data_loss', `the log of ${head.size} events does not begin with the log of ${old.size}`, {
      remedy: 'its history was rewritten since the old checkpoint was signed',
    })
  return { old, head }
}

/** @param indices where the path may ask for hashes of less than a tile */
async function subtreesOf(archive: Archive, size: number, indices: readonly number[]): Promise<SubtreeHash> {
  const tiles = await archive.tiles()
  const leaves = new Map<number, Buffer[]>()
  // Below a tile only these are taken apart: those that the path ends in, and the last, which is not complete.
  for (const tile of new Set([...indices, size].map((index) => Math.floor(index / TILE_LEAVES)))) {
    const start = tile * TILE_LEAVES
    if (start < size) leaves.set(tile, await archive.leaves(start, Math.min(start + TILE_LEAVES, size)))
  }
  const leaf = (at: number): Buffer => {
    const found = leaves.get(Math.floor(at / TILE_LEAVES))?.[at % TILE_LEAVES]
    if (found === undefined) throw new PurserError('internal', `the hash of event ${at + 1} was not loaded`)
    return found
  }
  const over = (start: number, count: number): Buffer => {
    if (count === 1) return leaf(start)
    const tile = tiles[start / TILE_LEAVES]
    if (count === TILE_LEAVES && tile !== undefined) return tile
    return nodeHash(over(start, count / 2), over(start + count / 2, count / 2))
  }
  return (start, count) => hashOver(start, start + count, over)
}

function parseProof<T>(schema: z.ZodType<T>, proof: unknown): T {
  const parsed = schema.safeParse(proof)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  throw new PurserError('invalid_argument', `this is no proof: ${issue?.path.join('.')}: ${issue?.message}`, {
    remedy: 'it is what purser log prove or purser log consistent writes',
  })
}

const encoded = (path: readonly Buffer[]): string[] => path.map((each) => each.toString('base64'))
const decoded = (path: readonly string[]): Buffer[] => path.map((each) => Buffer.from(each, 'base64'))
