import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { createZstdDecompress } from 'node:zlib'
import { z } from 'zod'
import type { Archive, Entry } from '../archive/archive.ts'
import { openCheckpoint } from '../archive/checkpoint.ts'
import { Frontier, leafHash } from '../archive/merkle.ts'
import { parseVerifier, type Verifier } from '../archive/note.ts'
import { PurserError, toPurserError } from '../model/errors.ts'
import { eventEnvelope } from '../model/event.ts'

const event = eventEnvelope.extend({ position: z.int().positive() })
/** The last line of an export. */
const signature = z.strictObject({ checkpoint: z.string(), key: z.string() })

const ZSTD_MAGIC = 0xfd2fb528

/**
 * Checks files that `purser log export` wrote: that together they are one log from event 1 on, and the one that was signed.
 *
 * @param verifier of whoever signed it; the key in the files without one
 * @returns the last position, and how many events at the end no checkpoint covers
 * @throws PurserError data_loss, naming file and line, when an event is missing, doubled or altered
 */
export async function readExport(
  files: readonly string[],
  verifier: Verifier | undefined,
): Promise<{ last: number; unsigned: number }> {
  const tree = new Frontier()
  let signed = 0
  for await (const { text, at } of linesOf(files)) {
    const json = parseJson(text, at)
    const end = signature.safeParse(json)
    if (end.success) {
      const { size, root } = openCheckpoint(end.data.checkpoint, verifier ?? parseVerifier(end.data.key))
      if (size !== tree.size || !root.equals(tree.root()))
        throw bad(at, `the events up to ${tree.size} are not the ${size} that were signed`)
      signed = size
      continue
    }
    const parsed = event.safeParse(json)
    if (!parsed.success) throw bad(at, `this is no event: ${parsed.error.issues[0]?.message}`)
    const { position } = parsed.data
    if (position !== tree.size + 1) throw bad(at, `event ${tree.size + 1} is missing: ${position} is in its place`)
    tree.add(leafHash(text))
  }
  if (tree.size === 0) throw new PurserError('invalid_argument', 'there are no events to import')
  return { last: tree.size, unsigned: tree.size - signed }
}

/** Seals the events of files that were checked. */
export async function importLog(files: readonly string[], archive: Archive, segmentEvents: number): Promise<void> {
  let entries: Entry[] = []
  for await (const { text, at } of linesOf(files)) {
    const parsed = event.safeParse(parseJson(text, at))
    if (!parsed.success) continue
    entries.push({ line: text, time: parsed.data.time })
    if (entries.length < segmentEvents) continue
    await archive.seal(entries)
    entries = []
  }
  if (entries.length > 0) await archive.seal(entries)
}

async function* linesOf(files: readonly string[]): AsyncGenerator<{ text: string; at: string }> {
  for (const file of files) {
    let number = 0
    let rest = Buffer.alloc(0)
    try {
      for await (const chunk of await openExport(file)) {
        rest = Buffer.concat([rest, chunk])
        for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
          number += 1
          yield { text: rest.toString('utf8', 0, end), at: `${file}:${number}` }
          rest = rest.subarray(end + 1)
        }
      }
    } catch (error) {
      if (error instanceof Error && 'code' in error && String(error.code).startsWith('ZSTD'))
        throw bad(`${file}:${number + 1}`, 'it does not decompress from there on', error)
      throw toPurserError(error)
    }
    if (rest.length > 0) throw bad(`${file}:${number + 1}`, 'it is cut off in the middle of a line')
  }
}

async function openExport(file: string): Promise<AsyncIterable<Buffer>> {
  const input = createReadStream(file)
  if (!(await isZstd(file))) return input
  const plain = createZstdDecompress()
  input.on('error', (error) => plain.destroy(error))
  return input.pipe(plain)
}

async function isZstd(file: string): Promise<boolean> {
  await using opened = await open(file)
  const { buffer, bytesRead } = await opened.read(Buffer.alloc(4), 0, 4, 0)
  return bytesRead === 4 && buffer.readUInt32LE() === ZSTD_MAGIC
}

function parseJson(text: string, at: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw bad(at, 'this is not JSON', cause)
  }
}

const bad = (at: string, why: string, cause?: unknown): PurserError =>
  new PurserError('data_loss', `${at}: ${why}`, { cause, remedy: 'export it again, or use an older backup' })
