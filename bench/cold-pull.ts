import { startNode } from '../test/support/daemon.ts'
import { startContainerd } from './support/containerd.ts'
import { type BenchImage, startBenchRegistry } from './support/images.ts'
import { purser } from './support/purser.ts'
import { type Measure, writeResult } from './support/result.ts'
import { inPairs, median, timed } from './support/statistics.ts'

// On disk write-back decides, and not either program.
const TMPFS = '/dev/shm'
const ROUNDS = 5
const IMAGES: readonly BenchImage[] = ['multi:gzip', 'multi:zstd']

await using registry = await startBenchRegistry(IMAGES)
const measures: Measure[] = []
const samples: Record<string, number[]> = {}
for (const image of IMAGES) {
  const reference = registry.reference(image)
  const pairs = await inPairs(ROUNDS, {
    async purser() {
      await using node = await startNode({ parent: TMPFS })
      return await timed(() => purser(node, 'pull', '--quiet', reference))
    },
    async containerd() {
      await using containerd = await startContainerd(TMPFS)
      return await timed(() => containerd.ctr('image', 'pull', '--plain-http', reference))
    },
  })
  samples[`purser ${image}`] = pairs.purser
  samples[`containerd ${image}`] = pairs.containerd
  measures.push({
    what: `cold pull and unpack, 9 layers, ${image}`,
    unit: 'ms',
    purser: median(pairs.purser),
    containerd: median(pairs.containerd),
    ratio: pairs.ratio,
    budget: { atMost: 0.5 },
  })
}
writeResult('cold-pull', {
  title: 'Cold pull and unpack of a many-layer image',
  method: `A fresh daemon each time, its directories on tmpfs; a loopback registry; \`purser pull\` against \`ctr image pull\`,
as whole commands; ${ROUNDS} pairs. Images by scripts/images: 9 layers, 265 MB of gzip or 252 MB of zstd, 570 MB unpacked.`,
  measures,
  samples,
})
