import { readFile } from 'node:fs/promises'
import { PurserError, toPurserError } from '../model/errors.ts'
import { parseCheckpoint } from './checkpoint.ts'
import { archivePaths, listSegments, readDropped } from './directory.ts'
import { linesOf } from './lines.ts'
import { readFooter, readSegment } from './segment.ts'

/**
 * The events of an archive after a moment, a line each as they are sealed, and at the end a line with the signed head and the
 * public key. Needs nothing but the directory, which may be in use.
 *
 * @param since a position or an RFC 3339 time; the beginning without it
 */
export async function* exportLines(dir: string, since: string | undefined): AsyncGenerator<Buffer> {
  const paths = archivePaths(dir)
  // The head first: what is sealed meanwhile is not of this export.
  const [checkpoint = '', key = ''] = await Promise.all(
    [paths.checkpoint, paths.key].map((path) => readFile(path, 'utf8')),
  ).catch((error) => {
    throw toPurserError(error)
  })
  const { size } = parseCheckpoint(checkpoint)
  const { through: dropped } = await readDropped(paths)
  const isWanted = startOf(since)
  let expected = dropped + 1
  for (const { path, first, last } of await listSegments(paths)) {
    if (last <= dropped || first > size) continue
    if (first !== expected) throw new PurserError('data_loss', `no segment begins with event ${expected}`)
    expected = last + 1
    if (!isWanted(last, (await readFooter(path)).lastTime)) continue
    let position = first - 1
    for (const { line } of linesOf((await readSegment(path)).lines)) {
      position += 1
      if (isWanted(position, () => timeOf(line))) yield Buffer.concat([line, NEWLINE])
    }
  }
  if (expected !== size + 1)
    throw new PurserError('data_loss', `the archive ends with event ${expected - 1}, not ${size}`)
  yield Buffer.from(`${JSON.stringify({ checkpoint, key: key.trim() })}\n`)
}

const NEWLINE = Buffer.from('\n')

/** Of clocks that were set back: from the first event on that is late enough, all are wanted. */
function startOf(since: string | undefined): (position: number, time: string | (() => string)) => boolean {
  if (since === undefined) return () => true
  if (/^\d{1,15}$/.test(since)) return (position) => position > Number(since)
  const sinceMs = /^\d{4}-\d\d-\d\dT/i.test(since) ? Date.parse(since) : Number.NaN
  if (Number.isNaN(sinceMs))
    throw new PurserError('invalid_argument', `since: ${JSON.stringify(since)} is neither a position nor a time`, {
      remedy: 'write 1234 or 2026-01-31T12:00:00Z',
    })
  let begun = false
  return (_, time) => {
    if (typeof time === 'string') return begun || Date.parse(time) >= sinceMs
    begun ||= Date.parse(time()) >= sinceMs
    return begun
  }
}

const timeOf = (line: Buffer): string => String(JSON.parse(line.toString()).time)
