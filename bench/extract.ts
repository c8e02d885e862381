import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import { LayerPool } from '../src/layers/pool.ts'
import { digestSchema, splitDigest } from '../src/model/digest.ts'

// Extracts all layers of an image in an OCI layout, each into a directory of its own, and prints how long it took.
//   bench/extract.ts [--threads 2] [--runs 5] [--hash-only] LAYOUT NAME WORKDIR

const descriptor = z.object({
  digest: digestSchema,
  size: z.number(),
  annotations: z.record(z.string(), z.string()).optional(),
})
const index = z.object({ manifests: z.array(descriptor) })
const manifest = z.object({ config: descriptor, layers: z.array(descriptor) })
const config = z.object({ rootfs: z.object({ diff_ids: z.array(z.string()) }) })

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    threads: { type: 'string', default: '2' },
    runs: { type: 'string', default: '5' },
    'hash-only': { type: 'boolean', default: false },
  },
})
const [layout = '.', name = '', workdir = '/dev/shm'] = positionals

const blobPath = (digest: z.infer<typeof digestSchema>) => {
  const { algorithm, hex } = splitDigest(digest)
  return join(layout, 'blobs', algorithm, hex)
}
const readJson = async (path: string): Promise<unknown> => JSON.parse(await readFile(path, 'utf8'))

const image = index
  .parse(await readJson(join(layout, 'index.json')))
  .manifests.find(({ annotations }) => annotations?.['org.opencontainers.image.ref.name'] === name)
if (!image) throw new Error(`${layout} has no image named ${name}`)
const { layers, config: configDescriptor } = manifest.parse(await readJson(blobPath(image.digest)))
const { diff_ids: diffIds } = config.parse(await readJson(blobPath(configDescriptor.digest))).rootfs

const pool = new LayerPool({ threads: Number(values.threads) })
const signal = new AbortController().signal
const timesMs: number[] = []
for (let run = 0; run < Number(values.runs); run += 1) {
  const root = await mkdtemp(join(workdir, 'bench-extract-'))
  const startMs = performance.now()
  const results = await Promise.all(
    layers.map(async ({ digest, size }, at) => {
      const target = join(root, String(at))
      await mkdir(target)
      const source = { path: blobPath(digest), sizeBytes: size }
      return pool.extract({ source, target: values['hash-only'] ? undefined : target, whiteouts: 'overlay' }, signal)
    }),
  )
  timesMs.push(performance.now() - startMs)
  for (const [at, result] of results.entries()) {
    if (result.digest !== layers[at]?.digest || result.diffId !== diffIds[at]) throw new Error(`layer ${at} is wrong`)
  }
  if (run === 0) {
    const sum = (of: (result: (typeof results)[number]) => number) => results.reduce((all, each) => all + of(each), 0)
    console.log({
      layers: layers.length,
      entries: sum((each) => each.entries),
      tarMiB: Math.round(sum((each) => each.tarBytes) / 2 ** 20),
      needsParents: sum((each) => (each.needsParents ? 1 : 0)),
      implicitParents: sum((each) => each.implicitParents.length),
    })
  }
  await rm(root, { recursive: true })
}
await pool.close()
console.log(`ms: ${timesMs.map((ms) => ms.toFixed(0)).join(' ')}`)
