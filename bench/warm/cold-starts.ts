import { setTimeout as delay } from 'node:timers/promises'
import { startNode } from '../../test/support/daemon.ts'
import { hasDocker, startDocker } from '../../test/support/docker.ts'
import { startContainerd } from '../support/containerd.ts'
import { containerdRunner } from '../support/containerd-run.ts'
import { DockerRunner } from '../support/docker-run.ts'
import { BenchPool } from '../support/pools.ts'
import { Api } from '../support/purser.ts'
import type { Found } from '../support/scenario.ts'
import { inPairs, median, timed } from '../support/statistics.ts'
import { workDir } from '../support/work-dir.ts'

const ROUNDS = 15
const SETTLE_MS = 400
const ARGS = ['sleep', '1000']

/** What a claim spares: a start, by Purser and by others. */
export async function coldStarts(image: string): Promise<Found> {
  await using work = await workDir()
  await using node = await startNode({ parent: work.path })
  await using containerd = await startContainerd(work.path)
  using api = new Api(node)
  await api.execute('image.pull', image)
  await containerd.ctr('image', 'pull', '--plain-http', image)
  using runner = await containerdRunner(containerd, image, ARGS)
  const pool = await BenchPool.create(api, 'spared', image, { min: 1 })
  let at = 0
  const claim = async () => {
    await pool.filled(1)
    await delay(SETTLE_MS)
    let id = ''
    const ms = await timed(async () => {
      id = (await pool.claim()).id
    })
    await pool.release(id)
    return ms
  }
  /** One start after the other, each with a pause before it. */
  const started = (start: (id: string) => Promise<unknown>, remove: (id: string) => Promise<unknown>) => async () => {
    const id = `s${at++}`
    await delay(SETTLE_MS)
    const ms = await timed(() => start(id))
    await remove(id)
    return ms
  }
  const own = started(
    (id) => api.execute('container.run', id, { image, options: { args: ARGS } }),
    (id) => api.execute('container.remove', id, { running: 'kill' }),
  )
  const found: Found = {
    method: `Cold starts: a claim beside a start of the same image by Purser, by containerd and by docker, each through its API, ${ROUNDS} pairs each
with a pause before every one; containerd and docker make no network and containerd no stdio either.`,
    measures: [],
    samples: {},
  }
  const compare = async (whose: string, other: () => Promise<number>) => {
    // "containerd" is the other side here.
    const pairs = await inPairs(ROUNDS, { purser: claim, containerd: other })
    found.samples[`cold start, ${whose}`] = pairs.containerd
    found.samples[`claim, beside ${whose}`] = pairs.purser
    found.measures.push(
      { what: `cold start, ${whose}`, unit: 'ms', purser: median(pairs.containerd) },
      { what: `claim as a share of a cold start, ${whose}`, unit: 'share', purser: pairs.ratio },
    )
  }
  await compare("Purser's", own)
  await compare("containerd's", started(runner.start, runner.remove))
  if (hasDocker) {
    await using docker = await startDocker(work.path)
    await docker.docker('pull', '--quiet', image)
    using run = new DockerRunner(docker, image, ARGS)
    await compare(
      "docker's",
      started(
        (id) => run.start(id),
        (id) => run.remove(id),
      ),
    )
  }
  await pool.delete()
  return found
}
