import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { TaskPaths } from '../../src/workers/task/paths.ts'
import { startNode } from '../../test/support/daemon.ts'
import { startContainerd } from '../support/containerd.ts'
import { type ContainerdRunner, containerdRunner, parseSpec, withArgs } from '../support/containerd-run.ts'
import { Api } from '../support/purser.ts'
import type { Measure } from '../support/result.ts'
import type { Found } from '../support/scenario.ts'
import { inPairs, median, type Pairs, timed } from '../support/statistics.ts'
import { workDir } from '../support/work-dir.ts'

const ROUNDS = 25
/** Of what takes longer: many at once. */
const CROWDS = [8, 32, 100]
const CROWD_ROUNDS = 4
/** Before each start: what the last one left to be done, such as a spare shim, is then no part of this one. */
const SETTLE_MS = 400
const ARGS = ['sleep', '1000']

/** A present image: from the request to the started process, to the end of a short one, and by many at once. */
export async function start(image: string): Promise<Found> {
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

  using brief = await containerdRunner(containerd, image, ['true'], withArgs(spec, ['true']))
  const whole = await inPairs(ROUNDS, {
    async purser() {
      const id = `pw${at++}`
      await delay(SETTLE_MS)
      return await timed(async () => {
        await api.execute('container.run', id, { image, options: { args: ['true'] } })
        await api.ask('GET', `/v1/containers/${id}/wait`)
        await api.execute('container.remove', id)
      })
    },
    async containerd() {
      const id = `cw${at++}`
      await delay(SETTLE_MS)
      return await timed(async () => {
        await brief.start(id)
        await brief.endOf(id)
      })
    },
  })

  await begin('host')
  await same.start('host')
  const execs = await inPairs(ROUNDS, {
    purser: () =>
      timed(() => api.execute('task.exec', 'host', { execId: `e${at++}`, args: ['true'], output: 'discard' })),
    containerd: () => timed(() => same.exec('host', `e${at++}`, ['true'])),
  })
  await end('host')
  await same.remove('host')

  /** Milliseconds for each of so many starts that are asked for at once. */
  async function crowd(
    size: number,
    start: (id: string) => Promise<unknown>,
    remove: (id: string) => Promise<unknown>,
  ) {
    const ids = Array.from({ length: size }, () => `m${at++}`)
    await delay(SETTLE_MS)
    const ms = await timed(() => Promise.all(ids.map(start)))
    for (const id of ids) await remove(id)
    return ms / size
  }
  const crowds: [number, Pairs][] = []
  for (const size of CROWDS) {
    const pairs = await inPairs(CROWD_ROUNDS, {
      purser: () => crowd(size, begin, end),
      containerd: () => crowd(size, same.start, same.remove),
    })
    crowds.push([size, pairs])
  }

  const measure = (what: string, pairs: Pairs, atMost?: number): Measure => ({
    what,
    unit: 'ms',
    purser: median(pairs.purser),
    containerd: median(pairs.containerd),
    ratio: pairs.ratio,
    ...(atMost === undefined ? {} : { budget: { atMost } }),
  })
  const STARTED = 'request to process started, image present'
  return {
    method: `One daemon each, on disk; ${ROUNDS} pairs, one at a time, with a pause before each. Purser: one POST of container.run that waits, with log files
and both output pipes. containerd: Prepare, Containers.Create, Tasks.Create and Tasks.Start over one gRPC connection, without
stdio, which is in its favour. Both use the same shim, each with its default runtime: Purser with crun where that works, containerd with
runc. In the second line containerd runs the specification that ctr makes, which has no seccomp filter; in the others the one that Purser
makes. Many at once: ${CROWD_ROUNDS} pairs, the time of all by their number.`,
    measures: [
      measure(`${STARTED}, one specification for both`, alike, 0.8),
      measure(`${STARTED}, containerd's without seccomp, as ctr makes it`, asCtr, 0.8),
      measure('request to exited and deleted, one specification for both', whole),
      measure('request to another process started (exec)', execs),
      ...crowds.map(([size, pairs]) => measure(`${STARTED}, ${size} at once, each`, pairs, 1)),
    ],
    samples: {
      purser: alike.purser,
      containerd: alike.containerd,
      'purser, beside plain': asCtr.purser,
      'containerd, plain': asCtr.containerd,
      'purser, to deleted': whole.purser,
      'containerd, to deleted': whole.containerd,
      'purser, exec': execs.purser,
      'containerd, exec': execs.containerd,
      ...Object.fromEntries(
        crowds.flatMap(([size, { purser, containerd }]) => [
          [`purser, ${size} at once`, purser],
          [`containerd, ${size} at once`, containerd],
        ]),
      ),
    },
  }
}
