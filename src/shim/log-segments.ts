import { readdirSync, statSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { errnoOf } from '../host/syscalls.ts'

/** One file of a log: `log` is written to, `log.1` is what it was before, and so on. */
export interface LogSegment {
  path: string
  /** What it is known by, whatever it is renamed to. */
  id: string
}

/** Where an entry ends, or a reader goes on. */
export interface LogPosition {
  id: string
  /** Bytes from the beginning of that file. */
  offset: number
}

/** A position in one word, for whoever comes back to it. */
export const formatPosition = ({ id, offset }: LogPosition): string => `${id}:${offset}`

/** Undefined when it is none. */
export function parsePosition(text: string): LogPosition | undefined {
  const [, id, offset] = /^([\w-]{1,64}):(\d{1,15})$/.exec(text) ?? []
  return id === undefined ? undefined : { id, offset: Number(offset) }
}

/** A number of an inode is given again once its file has gone: the time of birth tells them apart. */
export const idOf = ({ ino, birthtimeMs }: { ino: number; birthtimeMs: number }): string =>
  `${ino}-${Math.round(birthtimeMs * 1000)}`

/** The files of a log as they are now, oldest first. */
export function segmentsAt(path: string): LogSegment[] {
  const name = basename(path)
  const numbers = readdirSync(dirname(path)).flatMap((each) => {
    if (each === name) return [0]
    const suffix = each.startsWith(`${name}.`) ? each.slice(name.length + 1) : ''
    return /^[1-9]\d{0,4}$/.test(suffix) ? [Number(suffix)] : []
  })
  return numbers
    .sort((a, b) => b - a)
    .flatMap((number) => {
      const at = segmentPath(path, number)
      const status = statSync(at, { throwIfNoEntry: false })
      return status ? [{ path: at, id: idOf(status) }] : []
    })
}

/** @param age 0 for the one that is written to */
export const segmentPath = (path: string, age: number): string =>
  age === 0 ? path : join(dirname(path), `${basename(path)}.${age}`)

/** Opens a segment; undefined when it has been renamed or has gone meanwhile, and its log must be looked at again. */
export async function openSegment({ path, id }: LogSegment): Promise<FileHandle | undefined> {
  let file: FileHandle
  try {
    file = await open(path, 'r')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
  if (idOf(await file.stat()) === id) return file
  await file.close()
  return undefined
}
