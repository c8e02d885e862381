import fc from 'fast-check'
import type { TestEntry } from './tars.ts'

/** Bytes, one character each: spaces, control characters, UTF-8, no UTF-8, as long as a name may be, nearly a whiteout. */
const NAMES = [
  'a',
  'b',
  'c',
  'etc',
  ' ',
  '-rf',
  'new\nline',
  '\xc3\xbc',
  '\xff\xfe',
  '...',
  '.wh',
  'x.wh.',
  'N'.repeat(255),
]

const ID = fc.constantFrom(0, 1, 1000, 65_534, 2 ** 21, 2 ** 31, 2 ** 32 - 2)
/** As pax has it. */
const TIME = fc.constantFrom('1700000000', '0', '1.5', '-1.25', '1234567890.123456789', '4294967296.000000001')
const MODE = fc.constantFrom(0o644, 0o600, 0o755, 0o4755, 0o2775, 0o1777, 0, 0o7777)

const CAPABILITY = Buffer.from('0100000200200000000000000000000000000000', 'hex')
const XATTRS = fc.constantFrom<Record<string, Buffer>>(
  {},
  {},
  {},
  { 'SCHILY.xattr.security.capability': CAPABILITY },
  { 'SCHILY.xattr.user.a': Buffer.from('text'), 'SCHILY.xattr.user.b': Buffer.from([0, 10, 255, 61]) },
  { 'SCHILY.xattr.user.empty': Buffer.alloc(0), 'SCHILY.xattr.user.large': Buffer.alloc(1500, 7) },
)

/** What an entry is, before it has a name; a link picks among the names that came before it. */
type Shape =
  | { is: 'file' | 'directory' | 'fifo' | 'device' | 'sparse'; attributes: Attributes; xattrs: Record<string, Buffer> }
  | { is: 'symlink'; attributes: Attributes; pick: number; form: number }
  | { is: 'hard link'; pick: number }
  | { is: 'whiteout' | 'opaque'; pick: number }

interface Attributes {
  mode: number
  uid: number
  gid: number
  mtime: string
  size: number
}

const attributes = fc.record({ mode: MODE, uid: ID, gid: ID, mtime: TIME, size: fc.constantFrom(0, 1, 511, 512, 5000) })
const pick = fc.nat(1000)
const made = (weight: number, is: 'file' | 'directory' | 'fifo' | 'device' | 'sparse') => ({
  weight,
  arbitrary: fc.record({ is: fc.constant(is), attributes, xattrs: XATTRS }),
})
const shape: fc.Arbitrary<Shape> = fc.oneof(
  made(6, 'file'),
  made(5, 'directory'),
  made(1, 'sparse'),
  made(1, 'fifo'),
  made(1, 'device'),
  { weight: 3, arbitrary: fc.record({ is: fc.constant('symlink' as const), attributes, pick, form: fc.nat(2) }) },
  { weight: 3, arbitrary: fc.record({ is: fc.constant('hard link' as const), pick }) },
  { weight: 3, arbitrary: fc.record({ is: fc.constant('whiteout' as const), pick }) },
  { weight: 2, arbitrary: fc.record({ is: fc.constant('opaque' as const), pick }) },
)

const steps = fc.oneof(
  { weight: 15, arbitrary: fc.array(fc.nat(3), { minLength: 1, maxLength: 4 }) },
  { weight: 1, arbitrary: fc.nat(3).map((at) => Array.from({ length: 14 }, (_, step) => at + (step % 2))) },
)
const placed = fc.record({ shape, steps })

/**
 * Layers of anything that a tar can say, in any order. Names come from a few in each stack, so that entries meet: they
 * replace, hide and lead through one another, within a layer and across layers.
 */
export const layerStack: fc.Arbitrary<TestEntry[][]> = fc
  .record({
    names: fc.uniqueArray(fc.constantFrom(...NAMES), { minLength: 2, maxLength: 4 }),
    layers: fc.array(fc.array(placed, { maxLength: 9 }), { minLength: 1, maxLength: 4 }),
  })
  .map(({ names, layers }) => {
    const seen: string[] = []
    let files: string[] = []
    const stack = layers.map((entries) =>
      entries.map(({ shape, steps }) => {
        const hides = shape.is === 'whiteout' || shape.is === 'opaque'
        // Most hide something that a layer named.
        const isAnyName = !hides || seen.length === 0 || shape.pick % 4 === 0
        const path = isAnyName ? steps.map((at) => of(names, at)).join('/') : of(seen, shape.pick)
        const entry = entryOf(shape, path, seen, files)
        files = files.filter((file) => !isLost(file, shape, path))
        if (hides) return entry
        seen.push(path)
        if (shape.is !== 'directory') files.push(path)
        return entry
      }),
    )
    return Object.defineProperty(stack, fc.toStringMethod, { value: () => describeStack(stack) })
  })

/** An entry a line, as short as can be: what a failure is understood by. */
function describeStack(layers: readonly (readonly TestEntry[])[]): string {
  const kinds: Record<string, string> = {
    1: 'hard link',
    2: 'symlink',
    3: 'char',
    4: 'block',
    5: 'directory',
    6: 'fifo',
  }
  const describe = ({ name, flag = '', pax = {}, mode = 0 }: TestEntry): string => {
    const { path, linkpath, mtime, uid, gid } = pax
    const text = (value: string | Buffer | undefined) =>
      JSON.stringify(value?.toString('latin1').replaceAll('N'.repeat(255), 'N…'))
    const to = linkpath === undefined ? '' : ` -> ${text(linkpath)}`
    const owned = mtime === undefined ? '' : ` ${mode.toString(8)} ${uid}:${gid} ${mtime}`
    return `  ${kinds[flag] ?? 'file'} ${path === undefined ? JSON.stringify(name) : text(path)}${to}${owned}`
  }
  return layers.map((entries, at) => [`layer ${at}`, ...entries.map(describe)].join('\n')).join('\n')
}

/** Roughly, as symlinks are not followed: most hard links should find their file, or most stacks would be refused. */
function isLost(file: string, { is }: Shape, path: string): boolean {
  if (is === 'opaque') return file.startsWith(path.slice(0, path.lastIndexOf('/') + 1))
  return file === path || path.startsWith(`${file}/`) || (is !== 'directory' && file.startsWith(`${path}/`))
}

const of = (list: readonly string[], at: number): string => list[at % list.length] ?? ''

function entryOf(shape: Shape, path: string, seen: readonly string[], files: readonly string[]): TestEntry {
  switch (shape.is) {
    case 'whiteout':
      return named(path.replace(/[^/]+$/, '.wh.$&'), {})
    case 'opaque':
      return named(path.replace(/[^/]+$/, '.wh..wh..opq'), {})
    case 'hard link':
      if (files.length === 0) return named(path, { data: path })
      return named(path, { flag: '1', pax: { linkpath: bytes(of(files, shape.pick)) } })
    case 'symlink': {
      const to = of(seen.length === 0 ? ['nowhere'] : seen, shape.pick)
      const target = of([to, `/${to}`, `../${to}`], shape.form)
      return named(path, { flag: '2', ...attributesOf(shape.attributes, { linkpath: bytes(target) }) })
    }
    case 'directory':
      return named(`${path}/`, { flag: '5', ...attributesOf(shape.attributes, shape.xattrs) })
    case 'fifo':
      return named(path, { flag: '6', ...attributesOf(shape.attributes, {}) })
    case 'device': {
      const number =
        shape.attributes.size % 2 === 0 ? { flag: '3', major: 1, minor: 3 } : { flag: '4', major: 259, minor: 70_000 }
      return named(path, { ...number, ...attributesOf(shape.attributes, {}) })
    }
    case 'file':
      return named(path, {
        data: Buffer.alloc(shape.attributes.size, path),
        ...attributesOf(shape.attributes, shape.xattrs),
      })
    case 'sparse': {
      // GNU.sparse 0.1: three bytes after a hole, and a hole at the end.
      const pax = { 'GNU.sparse.size': '100000', 'GNU.sparse.numblocks': '1', 'GNU.sparse.map': '70000,3' }
      return named(path, { data: 'abc', ...attributesOf(shape.attributes, { ...pax, ...shape.xattrs }) })
    }
  }
}

const bytes = (name: string): Buffer => Buffer.from(name, 'latin1')

/** What does not fit the fields of ustar, or always is in pax here. */
function attributesOf(
  { mode, uid, gid, mtime }: Attributes,
  pax: Record<string, string | Buffer>,
): { mode: number; pax: Record<string, string | Buffer> } {
  return { mode, pax: { uid: String(uid), gid: String(gid), mtime, ...pax } }
}

const named = (name: string, entry: Omit<TestEntry, 'name'>): TestEntry =>
  name.length <= 100 ? { name, ...entry } : { name: 'long', ...entry, pax: { ...entry.pax, path: bytes(name) } }
