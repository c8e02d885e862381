import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { PurserError } from '../model/errors.ts'

/** What is where in an archive's directory; all but the segments can be had from them again. */
export interface ArchivePaths {
  dir: string
  segments: string
  /** Hashes over complete tiles. */
  tree: string
  /** The signed head. */
  checkpoint: string
  /** The public key, for convenience: a verifier who distrusts the host has a copy of his own. */
  key: string
  /** What retention has dropped. */
  dropped: string
}

export const archivePaths = (dir: string): ArchivePaths => ({
  dir,
  segments: join(dir, 'segments'),
  tree: join(dir, 'tree'),
  checkpoint: join(dir, 'checkpoint'),
  key: join(dir, 'key.pub'),
  dropped: join(dir, 'dropped.json'),
})

export interface SegmentFile {
  path: string
  /** Positions of its first and last event. */
  first: number
  last: number
}

/** Names sort as positions do. */
export const segmentName = (first: number, last: number): string => `${digits(first)}-${digits(last)}.ndjson.zst`
const digits = (position: number): string => String(position).padStart(16, '0')

/** The segments by their names, in order; says nothing of what is in them. */
export async function listSegments(paths: ArchivePaths): Promise<SegmentFile[]> {
  const names = await readdir(paths.segments).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  return names.sort().flatMap((name) => {
    const [, first, last] = /^(\d{16})-(\d{16})\.ndjson\.zst$/.exec(name) ?? []
    return first === undefined ? [] : [{ path: join(paths.segments, name), first: Number(first), last: Number(last) }]
  })
}

const droppedSchema = z.strictObject({
  /** Position of the last event that was dropped. */
  through: z.int().nonnegative(),
  /** Base64 of the leaf hashes of dropped events that share a tile with kept ones. */
  leaves: z.array(z.base64()).max(255),
})

/** What must be known of dropped segments to go on proving things about the others. */
export interface Dropped {
  through: number
  leaves: Buffer[]
}

export async function readDropped(paths: ArchivePaths): Promise<Dropped> {
  try {
    const { through, leaves } = droppedSchema.parse(JSON.parse(await readFile(paths.dropped, 'utf8')))
    return { through, leaves: leaves.map((leaf) => Buffer.from(leaf, 'base64')) }
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return { through: 0, leaves: [] }
    throw new PurserError('data_loss', `${paths.dropped} is damaged`, { cause, remedy: 'put it back from a backup' })
  }
}

export async function writeDropped(paths: ArchivePaths, { through, leaves }: Dropped): Promise<void> {
  const text = JSON.stringify({ through, leaves: leaves.map((leaf) => leaf.toString('base64')) })
  await writeDurably(paths.dropped, Buffer.from(text))
}

/** Written as a whole or not at all, and on the disk on return. */
export async function writeDurably(path: string, bytes: Buffer | string): Promise<void> {
  const partial = `${path}.partial`
  try {
    await writeFile(partial, bytes, { mode: 0o600, flush: true })
    await rename(partial, path)
  } catch (error) {
    await rm(partial, { force: true })
    throw error
  }
  await syncDirectory(join(path, '..'))
}

export async function syncDirectory(path: string): Promise<void> {
  await using dir = await open(path, 'r')
  await dir.sync()
}

/** Makes the directories, and removes what a crash left half written. */
export async function prepareArchive(paths: ArchivePaths): Promise<void> {
  await mkdir(paths.segments, { recursive: true, mode: 0o700 })
  for (const dir of [paths.dir, paths.segments]) {
    for (const name of await readdir(dir)) if (name.endsWith('.partial')) await rm(join(dir, name))
  }
}
