import { mkdtempDisposable } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { type BenchImage, startBenchRegistry } from '../support/images.ts'
import { run } from '../support/run.ts'
import type { Found } from '../support/scenario.ts'
import { inPairs, median, timed } from '../support/statistics.ts'
import { workDir } from '../support/work-dir.ts'
import { OTHERS, pullWithContainerd, pullWithPurser, TMPFS } from './sides.ts'

const ROUNDS = 3
const DISK_ROUNDS = 2
const IMAGES: readonly BenchImage[] = ['multi:gzip', 'multi:zstd', 'base:latest']

/** A fresh daemon pulls and unpacks one image. */
export async function cold(): Promise<Found> {
  await using registry = await startBenchRegistry(IMAGES)
  const found: Found = {
    measures: [],
    samples: {},
    method: `Cold pull: a fresh daemon each time, its directories on tmpfs; a loopback registry; \`purser pull\` against \`ctr image pull\` as
whole commands; ${ROUNDS} pairs, ${DISK_ROUNDS} on disk, where write-back of the cache decides. Images by scripts/images: multi has 9 layers, 265 MB
of gzip or 252 MB of zstd, 570 MB unpacked; base has one of 61 MB. Beside them, curl | gunzip | tar of the same layers, all at once, which
checks no digest and knows no whiteout.`,
  }
  for (const image of IMAGES) {
    const references = [registry.reference(image)]
    const pairs = await inPairs(ROUNDS, {
      purser: () => pullWithPurser(TMPFS, references),
      containerd: () => pullWithContainerd(TMPFS, references),
    })
    found.samples[`purser ${image}`] = pairs.purser
    found.samples[`containerd ${image}`] = pairs.containerd
    found.measures.push({
      what: `cold pull and unpack, ${image}`,
      unit: 'ms',
      purser: median(pairs.purser),
      containerd: median(pairs.containerd),
      ratio: pairs.ratio,
      ...(image === 'multi:gzip' ? { budget: { atMost: 0.5 } } : {}),
    })
  }
  const references = [registry.reference('multi:gzip')]
  // "containerd" is the other side here.
  const plain = await inPairs(ROUNDS, {
    purser: () => pullWithPurser(TMPFS, references),
    containerd: () => plainly(registry.address),
  })
  found.samples['curl | gunzip | tar'] = plain.containerd
  found.measures.push({
    what: 'cold pull, multi:gzip, as a share of curl, gunzip and tar of all layers at once',
    unit: 'share',
    purser: plain.ratio,
    budget: { atMost: 1 },
  })
  for (const [name, { isThere, pull }] of Object.entries(OTHERS)) {
    if (!isThere) continue
    const pairs = await inPairs(ROUNDS, {
      purser: () => pullWithPurser(TMPFS, references),
      containerd: () => pull(TMPFS, registry.reference('multi:gzip')),
    })
    found.samples[name] = pairs.containerd
    found.measures.push({ what: `cold pull, multi:gzip, as a share of ${name}'s`, unit: 'share', purser: pairs.ratio })
  }
  await using disk = await workDir()
  const onDisk = await inPairs(DISK_ROUNDS, {
    purser: () => pullWithPurser(disk.path, references),
    containerd: () => pullWithContainerd(disk.path, references),
  })
  found.measures.push({
    what: 'cold pull and unpack, multi:gzip, on disk',
    unit: 'ms',
    purser: median(onDisk.purser),
    containerd: median(onDisk.containerd),
    ratio: onDisk.ratio,
  })
  return found
}

const manifestSchema = z.object({ layers: z.array(z.object({ digest: z.string() })) })

/** What anybody could do by hand. */
async function plainly(address: string): Promise<number> {
  await using dir = await mkdtempDisposable(join(TMPFS, 'bp-'))
  const base = `http://${address}/v2/bench/multi`
  const accept = { accept: 'application/vnd.oci.image.manifest.v1+json' }
  const { layers } = manifestSchema.parse(await (await fetch(`${base}/manifests/gzip`, { headers: accept })).json())
  const script = 'mkdir "$2"; curl -sS "$1" | gunzip | tar -x --numeric-owner -C "$2"'
  return await timed(() =>
    Promise.all(
      layers.map(({ digest }, index) =>
        run('bash', ['-o', 'pipefail', '-c', script, 'bash', `${base}/blobs/${digest}`, join(dir.path, String(index))]),
      ),
    ),
  )
}
