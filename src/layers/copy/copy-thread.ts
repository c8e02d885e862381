import { closeSync, fstatSync, openSync, readlinkSync, readSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { type ByteString, printable } from '../../host/byte-paths.ts'
import { openInRoot } from '../../host/open-in-root.ts'
import { readlinkOfFd } from '../../host/syscalls.ts'
import { isMadeByTheKernel } from '../../host/tree-walk.ts'
import { PurserError, toPurserError } from '../../model/errors.ts'
import type { FileStatus } from '../../model/file-status.ts'
import { cleanPath } from '../paths.ts'
import { entryTypeOf } from '../tar/from-status.ts'
import type { CopyRequest, FromCopyThread, PathInTree } from './copy.ts'
import { treeTar } from './tree-tar.ts'
import { type Copied, CopyWriter } from './write-copy.ts'

const PIECE_BYTES = 256 * 1024

const say = (message: FromCopyThread): void => parentPort?.postMessage(message)
const taken = (): Promise<void> => new Promise((resolve) => parentPort?.once('message', () => resolve()))

/** @throws PurserError failed_precondition for what is hidden by a mount at other times */
function open({ root, path, last, covered }: PathInTree): number {
  const refuseCovered = (found: ByteString) => {
    const by = covered.find((each) => found === each || found.startsWith(`${each}/`))
    if (by === undefined) return
    throw new PurserError('failed_precondition', `${printable(path)} is of the mount on ${printable(by)}`, {
      field: 'path',
      remedy: 'start the container: it is mounted while that runs',
    })
  }
  refuseCovered(`/${cleanPath(path)}`) // Which may not be there without it.
  const fd = openInRoot(root, path, last)
  try {
    const nameOf = (of: number): ByteString => readlinkSync(`/proc/self/fd/${of}`, 'latin1')
    refuseCovered(nameOf(fd).slice(nameOf(root).length))
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

function statusOf(fd: number): FileStatus {
  const status = fstatSync(fd, { bigint: true })
  const type = entryTypeOf(status) ?? 'socket'
  return {
    type,
    mode: Number(status.mode & 0o7777n),
    uid: Number(status.uid),
    gid: Number(status.gid),
    sizeBytes: Number(status.size),
    modifiedAt: status.mtime.toISOString(),
    ...(type === 'symlink' ? { target: readlinkOfFd(fd).toString('utf8') } : {}),
  }
}

function readStatus(request: PathInTree): FileStatus {
  const fd = open(request)
  try {
    return statusOf(fd)
  } finally {
    closeSync(fd)
  }
}

async function readTree(request: Extract<CopyRequest, { copy: 'out' }>): Promise<Copied> {
  let [pieces, length, bytes]: [Buffer[], number, number] = [[], 0, 0]
  const send = async () => {
    const isTaken = taken()
    say({ chunk: new Uint8Array(Buffer.concat(pieces, length)) })
    bytes += length
    ;[pieces, length] = [[], 0]
    await isTaken
  }
  const start = open(request)
  try {
    if (isMadeByTheKernel(start)) {
      throw new PurserError('failed_precondition', `the kernel makes ${printable(request.path)} as it is read`, {
        field: 'path',
        remedy: 'read it where it is: purser exec CONTAINER cat PATH',
      })
    }
    for (const piece of treeTar(start, request.name)) {
      pieces.push(piece)
      length += piece.length
      if (length >= PIECE_BYTES) await send()
    }
    if (length > 0) await send()
  } finally {
    closeSync(start)
  }
  return { entries: 0, bytes }
}

function writeTree(request: Extract<CopyRequest, { copy: 'in' }>): Copied {
  const { type } = readStatus(request)
  if (type !== 'directory') {
    throw new PurserError('failed_precondition', `${printable(request.path)} is no directory`, {
      field: 'path',
      remedy: 'name the directory that the entries are to be in',
    })
  }
  const { archive, root, path, target } = request
  using writer = new CopyWriter({ ...target, root: `/proc/self/fd/${root}`, directory: path })
  const fd = openSync(archive, 'r')
  try {
    const piece = Buffer.alloc(PIECE_BYTES)
    for (let read = -1; read !== 0; ) {
      read = readSync(fd, piece)
      writer.write(piece.subarray(0, read))
    }
    return writer.end()
  } catch (cause) {
    if (!(cause instanceof PurserError) || cause.code !== 'data_loss') throw cause
    throw new PurserError('invalid_argument', 'what was sent is no tar that can be written here', {
      cause,
      remedy: 'send a tar, plain or compressed with gzip or zstd',
    })
  } finally {
    closeSync(fd)
  }
}

try {
  const request: CopyRequest = workerData
  if (request.copy === 'none') say({ result: readStatus(request) })
  else say({ result: request.copy === 'out' ? await readTree(request) : writeTree(request) })
} catch (error) {
  say({ error: toPurserError(error).toBody() })
}
