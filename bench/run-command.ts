import { setTimeout as delay } from 'node:timers/promises'
import { startNode } from '../test/support/daemon.ts'
import { startContainerd } from './support/containerd.ts'
import { startBenchRegistry } from './support/images.ts'
import { purser } from './support/purser.ts'
import { writeResult } from './support/result.ts'
import { inPairs, median, timed } from './support/statistics.ts'
import { workDir } from './support/work-dir.ts'

const ROUNDS = 30
/** Before each run: what the last one left to be done, such as a spare shim, is then no part of this one. */
const SETTLE_MS = 400

await using registry = await startBenchRegistry(['tiny:latest'])
const image = registry.reference('tiny:latest')
await using work = await workDir()
await using node = await startNode({ parent: work.path })
await using containerd = await startContainerd(work.path)
await purser(node, 'pull', '--quiet', image)
await containerd.ctr('image', 'pull', '--plain-http', image)

let at = 0
const pairs = await inPairs(ROUNDS, {
  async purser() {
    await delay(SETTLE_MS)
    return await timed(() => purser(node, 'run', '--rm', image, 'true'))
  },
  async containerd() {
    await delay(SETTLE_MS)
    return await timed(() => containerd.ctr('run', '--rm', image, `c${at++}`, 'true'))
  },
})
writeResult('run-command', {
  title: '`purser run --rm IMAGE true` as a whole command',
  method: `One daemon each, on disk; ${ROUNDS} pairs, one at a time, with a pause before each; output read through pipes. \`bin/purser\` against
\`ctr\`; both have removed their container when they end. \`ctr\` sets no seccomp filter; Purser sets one.`,
  measures: [
    {
      what: '`run --rm` as a whole command',
      unit: 'ms',
      purser: median(pairs.purser),
      containerd: median(pairs.containerd),
      ratio: pairs.ratio,
      budget: { atMost: 1 },
    },
  ],
  samples: { purser: pairs.purser, containerd: pairs.containerd },
})
