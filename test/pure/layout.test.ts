import assert from 'node:assert/strict'
import { isBuiltin } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { isIdentifier, isPropertyAccessExpression } from 'typescript/unstable/ast'
import { aggregates } from '../../src/commands/index.ts'
import { nodesOf, ROOT, readSources, type Source } from '../support/sources.ts'

interface Part {
  /** Parts whose values it may use, besides model/; `x/*` names every part below x. */
  imports: readonly string[]
  /** Parts of which it may know the types. */
  types?: readonly string[]
  packages: readonly string[]
  /** Built-ins are listed only where there are few. */
  builtins?: readonly string[]
}

const HANDLERS = [
  'cdi',
  'commands',
  'content',
  'host',
  'layers',
  'layout',
  'log',
  'network',
  'oci',
  'projections',
  'queue',
  'registry',
  'secrets',
  'trust',
]
const ON_THE_HOST = ['shim', 'snapshotters', 'unpack']
const worker: Part = { imports: [...HANDLERS, ...ON_THE_HOST], packages: ['pino', 'zod'] }

/** What each part of src/ may import. A part is a directory; of workers/ and api/, each directory below. */
const PARTS: Readonly<Record<string, Part>> = {
  model: { imports: [], packages: ['zod'], builtins: ['node:crypto', 'node:util'] },
  commands: { imports: ['oci'], packages: ['zod'], builtins: [] },
  archive: { imports: ['host'], packages: ['zod'] },
  log: { imports: ['archive', 'commands'], packages: ['ioredis', 'pino', 'undici', 'zod'] },
  host: { imports: [], packages: ['koffi'] },
  cdi: { imports: ['host', 'oci'], packages: ['yaml', 'zod'] },
  oci: { imports: [], packages: ['zod'], builtins: ['node:net', 'node:os', 'node:path'] },
  registry: { imports: ['oci', 'tracing'], packages: ['execa', 'smol-toml', 'undici', 'yaml', 'zod'] },
  grpc: { imports: [], packages: ['@bufbuild/protobuf'], builtins: ['node:http2', 'node:net'] },
  content: { imports: ['host', 'oci'], packages: [] },
  layers: { imports: ['host', 'oci'], packages: [] },
  snapshotters: {
    imports: ['grpc', 'host', 'oci'],
    packages: ['@bufbuild/protobuf', '@bufbuild/protobuf/codegenv2', '@bufbuild/protobuf/wkt', 'execa'],
  },
  layout: { imports: ['host', 'layers', 'oci'], packages: ['zod'] },
  unpack: { imports: ['host', 'layers', 'oci', 'snapshotters'], packages: [] },
  shim: {
    imports: ['grpc', 'host', 'oci'],
    packages: ['@bufbuild/protobuf', '@bufbuild/protobuf/codegenv2', '@bufbuild/protobuf/wkt', 'pino', 'zod'],
  },
  network: { imports: ['host', 'oci'], packages: ['execa', 'pino', 'zod'] },
  queue: { imports: ['commands', 'log', 'tracing'], packages: ['bullmq', 'ioredis', 'pino', 'zod'] },
  projections: { imports: ['commands', 'log'], packages: ['pino', 'prom-client', 'zod'] },
  secrets: { imports: ['archive'], packages: [] },
  trust: {
    imports: ['oci', 'registry'],
    packages: ['@sigstore/bundle', '@sigstore/protobuf-specs', '@sigstore/verify', 'zod'],
  },
  tracing: {
    imports: [],
    packages: [
      '@opentelemetry/api',
      '@opentelemetry/exporter-trace-otlp-http',
      '@opentelemetry/resources',
      '@opentelemetry/sdk-trace',
      'pino',
    ],
    builtins: ['node:async_hooks'],
  },
  sagas: { imports: ['commands', 'log', 'oci', 'queue'], packages: ['pino', 'zod'] },
  'workers/gc': worker,
  'workers/pull': worker,
  'workers/snapshot': worker,
  'workers/task': worker,
  api: { imports: [], types: ['archive', 'log', 'projections', 'queue', 'secrets'], packages: [] },
  'api/distribution': {
    imports: ['api', 'commands', 'oci'],
    types: ['log', 'queue'],
    packages: ['pino'],
  },
  'api/http': {
    imports: ['api', 'archive', 'commands', 'log', 'oci', 'projections', 'tracing'],
    types: ['host', 'queue'],
    packages: ['fastify', 'pino', 'prom-client', 'ws', 'zod'],
  },
  client: { imports: [], types: ['commands', 'projections'], packages: [] },
  cli: {
    imports: ['archive', 'client', 'host', 'layers', 'oci'],
    types: ['commands', 'projections'],
    packages: ['ws', 'yaml'],
  },
  daemon: {
    imports: ['*'],
    packages: ['ioredis', 'pino', 'prom-client', 'smol-toml', 'zod'],
  },
}

/** Verbs that do not speak to a daemon, but are one or stand in for it. */
const OFFLINE = new Set(['daemon', 'log-import', 'log-restore'].map((verb) => `src/cli/${verb}.ts`))

const LINES_MAX = 600

const project = readSources('src')
after(() => project[Symbol.dispose]())
const { sources } = project
const byPath = new Map(sources.map((source) => [source.path, source]))

const isGenerated = ({ path }: Source): boolean => path.includes('/gen/')

/** `src/workers/gc/mark.ts` is of workers/gc. */
function partOf(path: string): string {
  const [, first = '', second = '', third] = path.split('/')
  return (first === 'workers' || first === 'api') && third !== undefined ? `${first}/${second}` : first
}

/** Verbs that check what they read without a daemon. Loading zod takes as long as all else of a verb's start. */
const WITH_SCHEMAS = new Set(['log-check-proof', 'log-export', 'log-verify', 'snapshot-apply'])

test('no other verb loads zod', () => {
  const loading = sources
    .filter(({ path }) => /^src\/cli\/[^/]+\.ts$/.test(path) && !OFFLINE.has(path))
    .filter(({ path }) => loadedBy(path).has('zod') !== WITH_SCHEMAS.has(path.slice('src/cli/'.length, -'.ts'.length)))
  assert.deepEqual(
    loading.map(({ path }) => path),
    [],
  )
})

/** Files and packages that are loaded with a file, at once. */
function loadedBy(path: string): ReadonlySet<string> {
  const loaded = new Set([path])
  for (const each of loaded) {
    for (const { target, kind } of byPath.get(each)?.imports ?? []) if (kind === 'value') loaded.add(target)
  }
  return loaded
}

test('every directory of src/ is a part in the table', () => {
  const parts = new Set(sources.map(({ path }) => partOf(path)))
  assert.deepEqual(
    [...parts].filter((part) => !Object.hasOwn(PARTS, part)),
    [],
  )
})

test('a part imports what its line in the table allows, and nothing else', () => {
  const forbidden: string[] = []
  for (const { path, imports } of sources) {
    const from = partOf(path)
    const part = PARTS[from]
    if (!part) continue
    for (const { target, line, kind } of imports) {
      const at = `${path}:${line} imports ${target}`
      if (isBuiltin(target)) {
        if (!target.startsWith('node:')) forbidden.push(`${at}: say node:${target}`)
        if (part.builtins && !part.builtins.includes(target)) forbidden.push(at)
        continue
      }
      if (!target.startsWith('src/')) {
        if (!part.packages.includes(target)) forbidden.push(at)
        continue
      }
      const to = partOf(target)
      if (to === from || to === 'model' || part.imports.includes('*') || part.imports.includes(to)) continue
      if (part.types?.includes(to)) {
        if (kind !== 'type') forbidden.push(`${at} as a value`)
        continue
      }
      if (OFFLINE.has(path) && to === 'daemon' && kind === 'dynamic') continue
      forbidden.push(at)
    }
  }
  assert.deepEqual(forbidden, [])
})

test('the tracing SDK is loaded by import() alone, where it is configured', () => {
  const loads = sources.flatMap(({ path, imports }) =>
    imports
      .filter(({ target, kind }) => target === 'src/tracing/otel.ts' && kind !== 'type')
      .map((each) => ({ path, ...each })),
  )
  assert.deepEqual(
    loads.map(({ path, kind }) => `${path}: ${kind}`),
    ['src/daemon/tracing.ts: dynamic'],
  )
})

test('every relative import names a file that is there, with its .ts', () => {
  const missing = sources.flatMap(({ path, imports }) =>
    imports
      .filter(({ target }) => target.startsWith('src/') && !byPath.has(target))
      .map(({ target, line }) => `${path}:${line} imports ${target}`),
  )
  assert.deepEqual(missing, [])
})

test('no file reaches itself by its imports', () => {
  const done = new Set<string>()
  const cycles: string[] = []
  const visit = (path: string, trail: readonly string[]): void => {
    const at = trail.indexOf(path)
    if (at >= 0) cycles.push([...trail.slice(at), path].join(' → '))
    if (at >= 0 || done.has(path)) return
    for (const { target, kind } of byPath.get(path)?.imports ?? []) {
      // Types are gone when the file runs.
      if (byPath.has(target) && kind !== 'type') visit(target, [...trail, path])
    }
    done.add(path)
  }
  for (const { path } of sources) visit(path, [])
  assert.deepEqual(cycles, [])
})

test('parts do not depend on each other in a circle, not even by types', () => {
  const edges = new Map<string, Set<string>>()
  for (const { path, imports } of sources) {
    const from = partOf(path)
    for (const { target } of imports) {
      if (!byPath.has(target) || partOf(target) === from) continue
      edges.set(from, (edges.get(from) ?? new Set()).add(partOf(target)))
    }
  }
  const circles: string[] = []
  const reach = (from: string, trail: readonly string[]): void => {
    for (const to of edges.get(from) ?? []) {
      if (to === trail[0]) circles.push([...trail, to].join(' → '))
      else if (!trail.includes(to)) reach(to, [...trail, to])
    }
  }
  for (const from of edges.keys()) reach(from, [from])
  assert.deepEqual(circles, [])
})

test(`no file that people write is longer than ${LINES_MAX} lines`, () => {
  const long = sources.filter((source) => !isGenerated(source) && source.lines > LINES_MAX)
  assert.deepEqual(
    long.map(({ path, lines }) => `${path}: ${lines}`),
    [],
  )
})

test('deciding and reading specs know no clock, no chance and no process', () => {
  const globals = new Set(['process', 'performance', 'fetch', 'crypto', 'setTimeout', 'setInterval', 'setImmediate'])
  const reads = new Set(['Date.now', 'Math.random', 'new Date'])
  // Which platform this host is, is asked once, at the edge.
  const known = new Set(['src/oci/platform.ts'])
  const found: string[] = []
  for (const { path, tree } of sources) {
    if (!['commands', 'oci'].includes(partOf(path)) || known.has(path)) continue
    for (const node of nodesOf(tree)) {
      if (isPropertyAccessExpression(node) && reads.has(node.getText(tree)))
        found.push(`${path}: ${node.getText(tree)}`)
      if (!isIdentifier(node) || !globals.has(node.text)) continue
      // A property or a parameter may have such a name: task.exec has a `process`.
      if (usesGlobal(path, node.text)) found.push(`${path}: ${node.text}`)
    }
    if (/\bnew Date\(\)/.test(byPath.get(path)?.text ?? '')) found.push(`${path}: new Date()`)
  }
  assert.deepEqual(found, [])
})

/** Whether a file speaks of the global rather than of something of its own with that name. */
function usesGlobal(path: string, name: string): boolean {
  const text = byPath.get(path)?.text ?? ''
  return new RegExp(`(?<![.\\w])${name}(\\.[a-zA-Z]|\\()`).test(text) && !new RegExp(`\\b${name}\\s*[:,}]`).test(text)
}

test('only the configuration and the command line read the environment', () => {
  const readers = sources.filter(({ path, text }) => {
    return /\bprocess\.env\b/.test(text) && !['cli', 'daemon'].includes(partOf(path))
  })
  assert.deepEqual(
    readers.map(({ path }) => path),
    [],
  )
})

interface Exported {
  path: string
  name: string
  value: unknown
}

async function exportsOf(directory: string): Promise<Exported[]> {
  const files = sources.filter(({ path }) => dirname(path) === directory)
  const all = await Promise.all(
    files.map(async ({ path }) => {
      const module: Record<string, unknown> = await import(join(ROOT, path))
      return Object.entries(module).map(([name, value]) => ({ path, name, value }))
    }),
  )
  return all.flat()
}

const has = (value: unknown, ...keys: string[]): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && keys.every((key) => Object.hasOwn(value, key))

/** Exports of some shape that the directory's index.ts has in none of its lists. */
async function unlisted(directory: string, isSuch: (value: unknown) => boolean): Promise<string[]> {
  const all = await exportsOf(directory)
  const lists = all.filter(({ path }) => basename(path) === 'index.ts').map(({ value }) => value)
  const listed = new Set(
    lists.flatMap((list) => (list instanceof Map ? [...list.values()] : Array.isArray(list) ? list : [])),
  )
  const such = all.filter(({ path, value }) => basename(path) !== 'index.ts' && isSuch(value))
  assert.ok(such.length > 0, `${directory} has none at all`)
  return such.filter(({ value }) => !listed.has(value)).map(({ path, name }) => `${path}: ${name}`)
}

test('every aggregate is listed in commands/index.ts', async () => {
  assert.deepEqual(await unlisted('src/commands', (value) => has(value, 'decide', 'evolve')), [])
})

for (const directory of [
  'src/sagas',
  'src/workers/gc',
  'src/workers/pull',
  'src/workers/snapshot',
  'src/workers/task',
]) {
  test(`every handler of ${directory} is listed in its index.ts, and handles a command`, async () => {
    const isHandler = (value: unknown) => has(value, 'type', 'handle')
    assert.deepEqual(await unlisted(directory, isHandler), [])
    const commands = new Set([...aggregates.values()].flatMap((each) => Object.keys(each.commands)))
    for (const { path, value } of await exportsOf(directory)) {
      if (has(value, 'type', 'handle')) assert.ok(commands.has(String(value.type)), `${path}: ${value.type}`)
    }
  })
}

test('a command has one handler at most', async () => {
  const types = (await Promise.all(['src/sagas', ...workerDirectories()].map(exportsOf)))
    .flat()
    .flatMap(({ value }) => (has(value, 'type', 'handle') ? [String(value.type)] : []))
  assert.deepEqual(types.sort(), [...new Set(types)].sort())
})

const workerDirectories = (): string[] => [
  ...new Set(sources.filter(({ path }) => path.startsWith('src/workers/')).map(({ path }) => dirname(path))),
]

test('every resource of the HTTP API is listed in its index.ts', async () => {
  assert.deepEqual(await unlisted('src/api/http', (value) => has(value, 'name', 'routes')), [])
})

test('every snapshotter is listed in its index.ts', () => {
  const index = byPath.get('src/snapshotters/index.ts')
  const listed = new Set(index?.imports.map(({ target }) => target))
  const files = sources.filter(({ path, text }) => {
    return dirname(path) === 'src/snapshotters' && /export class \w+ implements Snapshotter\b/.test(text)
  })
  assert.ok(files.length > 0)
  assert.deepEqual(
    files.map(({ path }) => path).filter((path) => !listed.has(path)),
    [],
  )
})

test('every verb of the command line has a file in cli/, and every file there is listed in index.ts', () => {
  const listed = byPath.get('src/cli/index.ts')?.imports.map(({ target }) => target) ?? []
  const files = sources.map(({ path }) => path).filter((path) => dirname(path) === 'src/cli')
  assert.deepEqual(
    listed.filter((target) => dirname(target) === 'src/cli').sort(),
    files.filter((path) => !['index.ts', 'main.ts'].includes(basename(path))),
  )
})

test('every file is imported by another one, but for those that something else starts', () => {
  const started = [
    'src/cli/main.ts',
    'src/host/mount-thread.ts',
    'src/host/processes-thread.ts',
    'src/layers/copy/copy-thread.ts',
    'src/layers/diff/diff-thread.ts',
    'src/layers/compare-worker.ts',
    'src/layers/recompress-worker.ts',
    'src/layers/worker.ts',
    'src/shim/keeper/keeper-process.ts',
  ]
  const imported = new Set([...sources.flatMap(({ imports }) => imports.map(({ target }) => target)), ...started])
  assert.deepEqual(
    sources.map(({ path }) => path).filter((path) => !imported.has(path)),
    [],
  )
})
