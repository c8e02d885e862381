import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { TaskPaths } from '../src/workers/task/paths.ts'
import { startNode } from '../test/support/daemon.ts'
import { startContainerd } from './support/containerd.ts'
import { type ContainerdRunner, containerdRunner, parseSpec } from './support/containerd-run.ts'
import { startBenchRegistry } from './support/images.ts'
import { Api } from './support/purser.ts'
import { type Measure, writeResult } from './support/result.ts'
import { inPairs, median, type Pairs, timed } from './support/statistics.ts'
import { workDir } from './support/work-dir.ts'

const ROUNDS = Number(process.env.ROUNDS ?? 25)
/** Before each start: what the last one left to be done, such as a spare shim, is then no part of this one. */
const SETTLE_MS = 400
const ARGS = ['sleep', '1000']

await using registry = await startBenchRegistry(['tiny:latest'])
const image = registry.reference('tiny:latest')
await using work = await workDir()
await using node = await startNode({ parent: work.path })
await using containerd = await startContainerd(work.path)
using api = new Api(node)
await api.execute('image.pull', image)
await containerd.ctr('image', 'pull', '--plain-http', image)
const begin = (id: string) => api.execute('container.run', id, { image, options: { args: ARGS } })
const end = (id: string) => api.execute('container.remove', id, { running: 'kill' })

await begin('model')
const paths = new TaskPaths(node.root, node.state)
const spec = parseSpec(await readFile(`${paths.bundle('default', 'model')}/config.json`, 'utf8'))
await end('model')
using same = await containerdRunner(containerd, image, ARGS, spec)
using plain = await containerdRunner(containerd, image, ARGS)

let at = 0
const against = (runner: ContainerdRunner) =>
  inPairs(ROUNDS, {
    async purser() {
      const id = `p${at++}`
      await delay(SETTLE_MS)
      const ms = await timed(() => begin(id))
      await end(id)
      return ms
    },
    async containerd() {
      const id = `c${at++}`
      await delay(SETTLE_MS)
      const ms = await timed(() => runner.start(id))
      await runner.remove(id)
      return ms
    },
  })
const alike = await against(same)
const asCtr = await against(plain)
const measure = (what: string, pairs: Pairs): Measure => ({
  what: `request to process started, image present, ${what}`,
  unit: 'ms',
  purser: median(pairs.purser),
  containerd: median(pairs.containerd),
  ratio: pairs.ratio,
  budget: { atMost: 0.8 },
})
writeResult('run', {
  title: 'Run of a present image: from the request to the started process',
  method: `One daemon each, on disk; ${ROUNDS} pairs, one at a time, with a pause before each. Purser: one POST of container.run that waits, with log files
and both output pipes. containerd: Prepare, Containers.Create, Tasks.Create and Tasks.Start over one gRPC connection, without
stdio, which is in its favour. Both use the same shim and runc; in the first line also the
specification that Purser makes, in the second containerd runs the one that ctr makes, which has no seccomp filter.`,
  measures: [
    measure('one specification for both', alike),
    measure("containerd's without seccomp, as ctr makes it", asCtr),
  ],
  samples: {
    purser: alike.purser,
    containerd: alike.containerd,
    'purser, beside plain': asCtr.purser,
    'containerd, plain': asCtr.containerd,
  },
})
