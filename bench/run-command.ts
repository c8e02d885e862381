import { setTimeout as delay } from 'node:timers/promises'
import { startNode } from '../test/support/daemon.ts'
import { startContainerd } from './support/containerd.ts'
import { startBenchRegistry } from './support/images.ts'
import { Api, purser } from './support/purser.ts'
import { writeResult } from './support/result.ts'
import { inPairs, median, timed } from './support/statistics.ts'
import { workDir } from './support/work-dir.ts'

const ROUNDS = 30
const EMPTY = '{"items":[]}'

await using registry = await startBenchRegistry(['tiny:latest'])
const image = registry.reference('tiny:latest')
await using work = await workDir()
await using node = await startNode({ parent: work.path })
await using containerd = await startContainerd(work.path)
await purser(node, 'pull', '--quiet', image)
await containerd.ctr('image', 'pull', '--plain-http', image)

using api = new Api(node)

async function allRemoved(): Promise<void> {
  while ((await api.ask('GET', '/v1/containers'))[1] !== EMPTY) await delay(10)
}
let at = 0
const pairs = await inPairs(ROUNDS, {
  async purser() {
    const ms = await timed(() => purser(node, 'run', '--rm', image, 'true'))
    await allRemoved() // or the removal would be at ctr's expense
    return ms
  },
  containerd: () => timed(() => containerd.ctr('run', '--rm', image, `c${at++}`, 'true')),
})
writeResult('run-command', {
  title: '`purser run --rm IMAGE true` as a whole command',
  method: `One daemon each, on disk; ${ROUNDS} pairs, one at a time; output read through pipes. \`bin/purser\` against \`ctr\`,
which has removed its container when it ends, and sets no seccomp filter; Purser sets one, and removes after the command has ended.`,
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
