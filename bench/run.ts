import { startNode } from '../test/support/daemon.ts'
import { startContainerd } from './support/containerd.ts'
import { containerdRunner } from './support/containerd-run.ts'
import { startBenchRegistry } from './support/images.ts'
import { Api } from './support/purser.ts'
import { writeResult } from './support/result.ts'
import { inPairs, median, timed } from './support/statistics.ts'
import { workDir } from './support/work-dir.ts'

const ROUNDS = 40
const ARGS = ['sleep', '1000']

await using registry = await startBenchRegistry(['tiny:latest'])
const image = registry.reference('tiny:latest')
await using work = await workDir()
await using node = await startNode({ parent: work.path })
await using containerd = await startContainerd(work.path)
using api = new Api(node)
await api.execute('image.pull', image)
await containerd.ctr('image', 'pull', '--plain-http', image)
using runner = await containerdRunner(containerd, image, ARGS)

let at = 0
const pairs = await inPairs(ROUNDS, {
  async purser() {
    const id = `p${at++}`
    const ms = await timed(() => api.execute('container.run', id, { image, options: { args: ARGS } }))
    await api.execute('container.remove', id, { running: 'kill' })
    return ms
  },
  async containerd() {
    const id = `c${at++}`
    const ms = await timed(() => runner.start(id))
    await runner.remove(id)
    return ms
  },
})
writeResult('run', {
  title: 'Run of a present image: from the request to the started process',
  method: `One daemon each, on disk; ${ROUNDS} pairs, one at a time. Purser: one POST of container.run that waits, with log files
and both output pipes. containerd: Prepare, Containers.Create, Tasks.Create and Tasks.Start over one gRPC connection, without
stdio, which is in its favour. Both use the same shim and runc.`,
  measures: [
    {
      what: 'request to process started, image present',
      unit: 'ms',
      purser: median(pairs.purser),
      containerd: median(pairs.containerd),
      ratio: pairs.ratio,
      budget: { atMost: 0.8 },
    },
  ],
  samples: { purser: pairs.purser, containerd: pairs.containerd },
})
