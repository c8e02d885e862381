import { createHash, type Hash } from 'node:crypto'
import { closeSync, openSync, readSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import type { ByteString } from '../host/byte-paths.ts'
import { toPurserError } from '../model/errors.ts'
import type { CompareJob, Comparison, FileDifference, FromComparer } from './compare.ts'
import { type Decoder, detectCompression, MAGIC_BYTES } from './compression.ts'
import { createDecoder } from './inflate.ts'
import { DEFAULT_LIMITS } from './limits.ts'
import { cleanPath, parseWhiteout, splitPath } from './paths.ts'
import type { TarEntry } from './tar/header.ts'
import { TarReader, type TarSink } from './tar/reader.ts'

/** What of a file is compared. */
interface Fields {
  type: string
  mode: number
  owner: string
  content: string
  target: string
  device: string
  xattrs: string
}

type Tree = Map<ByteString, Fields>

const PIECE_BYTES = 256 * 1024

function compare({ common, one, other, filesMax }: CompareJob): Comparison {
  const base: Tree = new Map()
  for (const path of common) apply(base, path)
  const [first, second] = [new Map(base), base]
  for (const path of one) apply(first, path)
  for (const path of other) apply(second, path)
  const files: FileDifference[] = []
  let count = 0
  const tell = (difference: FileDifference) => {
    count += 1
    if (files.length < filesMax) files.push(difference)
  }
  for (const path of [...new Set([...first.keys(), ...second.keys()])].sort()) {
    const [before, after] = [first.get(path), second.get(path)]
    const shown = `/${Buffer.from(path, 'latin1').toString('utf8')}`
    if (!before) tell({ path: shown, change: 'added' })
    else if (!after) tell({ path: shown, change: 'removed' })
    else if (before !== after) {
      const keys = Object.keys(before) as (keyof Fields)[]
      const what = keys.filter((key) => before[key] !== after[key])
      if (what.length > 0) tell({ path: shown, change: 'changed', what })
    }
  }
  return { files, count }
}

/** Makes of a tree what it is with one more layer on top. @see image-spec, layer.md, "Applying" */
function apply(tree: Tree, path: string): void {
  const own: Tree = new Map()
  const hidden: ByteString[] = []
  const opaque: ByteString[] = []
  const links: [name: ByteString, target: ByteString][] = []
  readLayer(path, (entry, content) => {
    const clean = cleanPath(entry.path)
    const { parent, name } = splitPath(clean)
    if (clean === '') return
    const whiteout = parseWhiteout(clean, name)
    if (whiteout?.is === 'opaque') opaque.push(parent)
    else if (whiteout?.is === 'whiteout') hidden.push(parent === '' ? whiteout.of : `${parent}/${whiteout.of}`)
    else if (whiteout === undefined && entry.type === 'link') links.push([clean, cleanPath(entry.linkPath)])
    else if (whiteout === undefined) own.set(clean, fieldsOf(entry, content))
  })
  // A link is the file that it names, wherever in the layer that comes.
  for (const [name, target] of links) {
    const file = own.get(target) ?? tree.get(target)
    if (file) own.set(name, file)
  }
  const replaced = [...own].flatMap(([name, { type }]) =>
    type !== 'directory' && tree.get(name)?.type === 'directory' ? [name] : [],
  )
  const gone = new Set([...hidden, ...replaced])
  const emptied = new Set([...opaque, ...gone])
  if (emptied.size > 0) {
    for (const name of tree.keys()) if (gone.has(name) || isBelow(name, emptied)) tree.delete(name)
  }
  for (const [name, fields] of own) tree.set(name, fields)
}

function isBelow(name: ByteString, directories: ReadonlySet<ByteString>): boolean {
  if (directories.has('')) return true
  for (let slash = name.lastIndexOf('/'); slash > 0; slash = name.lastIndexOf('/', slash - 1)) {
    if (directories.has(name.slice(0, slash))) return true
  }
  return false
}

function fieldsOf(entry: TarEntry, content: string): Fields {
  const isDevice = entry.type === 'char' || entry.type === 'block'
  const xattrs = [...entry.xattrs].sort(([a], [b]) => (a < b ? -1 : 1))
  return {
    type: entry.type,
    mode: entry.mode,
    owner: `${entry.uid}:${entry.gid}`,
    content,
    target: entry.type === 'symlink' ? entry.linkPath : '',
    device: isDevice ? `${entry.major}:${entry.minor}` : '',
    xattrs: xattrs.map(([key, value]) => `${key}=${value.toString('hex')}`).join(' '),
  }
}

/** @param take is given each entry with the digest of its content */
function readLayer(path: string, take: (entry: TarEntry, content: string) => void): void {
  let current: TarEntry | undefined
  let hash: Hash | undefined
  const sink: TarSink = {
    entry: (entry) => {
      current = entry
      hash = entry.type === 'file' ? createHash('sha256').update(`${entry.sizeBytes}\0`) : undefined
    },
    // With its place, so that holes count as what they are.
    data: (piece, position) => void hash?.update(current?.sparse ? `${position}\0` : '').update(piece),
    entryEnd: () => {
      if (current) take(current, hash?.digest('hex') ?? '')
    },
  }
  const tar = new TarReader(sink, DEFAULT_LIMITS)
  const buffer = Buffer.allocUnsafeSlow(PIECE_BYTES)
  const file = openSync(path, 'r')
  let decoder: Decoder | undefined
  try {
    for (;;) {
      const length = readSync(file, buffer)
      if (length === 0) break
      const piece = buffer.subarray(0, length)
      decoder ??= createDecoder(detectCompression(piece.subarray(0, MAGIC_BYTES)), (out) => tar.write(out))
      decoder.write(piece)
    }
    decoder?.end()
    tar.end()
  } finally {
    decoder?.[Symbol.dispose]()
    closeSync(file)
  }
}

function answer(): FromComparer {
  try {
    return { result: compare(workerData) }
  } catch (error) {
    return { error: toPurserError(error).toBody() }
  }
}

parentPort?.postMessage(answer())
