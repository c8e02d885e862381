import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { execa } from 'execa'
import { TaskPaths } from '../../src/workers/task/paths.ts'
import { startNode } from '../../test/support/daemon.ts'
import { hasDocker, startDocker } from '../../test/support/docker.ts'
import { parseSpec } from '../support/containerd-run.ts'
import { DockerRunner } from '../support/docker-run.ts'
import { hasPodman, type Podman, startPodman } from '../support/podman.ts'
import { Api, purser } from '../support/purser.ts'
import type { Found } from '../support/scenario.ts'
import { inPairs, median, timed } from '../support/statistics.ts'
import { workDir } from '../support/work-dir.ts'

const ROUNDS = 15
const SETTLE_MS = 400
const ARGS = ['sleep', '1000']

interface Way {
  start: (id: string) => Promise<unknown>
  remove: (id: string) => Promise<unknown>
}

/** Starts of a present image beside those of docker, podman and a bare runc, where they are there. */
export async function others(image: string): Promise<Found> {
  await using work = await workDir()
  await using node = await startNode({ parent: work.path })
  using api = new Api(node)
  await api.execute('image.pull', image)
  const byApi: Way = {
    start: (id) => api.execute('container.run', id, { image, options: { args: ARGS } }),
    remove: (id) => api.execute('container.remove', id, { running: 'kill' }),
  }
  const byCommand: Way = {
    start: (id) => purser(node, 'run', '-d', '--name', id, image, ...ARGS),
    remove: byApi.remove,
  }
  const found: Found = {
    method: `Others: a start of a present image, ${ROUNDS} pairs each with a pause before every one: through the API beside docker's API (create and
start, no network), as a whole command (run -d) beside podman's, and through the API beside a bare runc (run -d, of a root file system that is
there, without snapshot, log, shim or record).`,
    measures: [],
    samples: {},
  }
  let at = 0
  const once =
    ({ start, remove }: Way) =>
    async () => {
      const id = `o${at++}`
      await delay(SETTLE_MS)
      const ms = await timed(() => start(id))
      await remove(id)
      return ms
    }
  const compare = async (whose: string, own: Way, other: Way) => {
    // "containerd" is the other side here.
    const pairs = await inPairs(ROUNDS, { purser: once(own), containerd: once(other) })
    found.samples[`purser, beside ${whose}`] = pairs.purser
    found.samples[whose] = pairs.containerd
    found.measures.push(
      { what: `start by ${whose}`, unit: 'ms', purser: median(pairs.containerd) },
      { what: `start as a share of ${whose}`, unit: 'share', purser: pairs.ratio },
    )
  }

  await byApi.start('model')
  const bundle = await bundleLike(new TaskPaths(node.root, node.state).bundle('default', 'model'), work.path)
  await byApi.remove('model')
  await purser(node, 'create', '--name', 'files', image)
  await purser(node, 'cp', 'files:/.', join(bundle, 'rootfs'))
  await purser(node, 'rm', 'files')
  // A detached container keeps the output that it is given: with a pipe, the command would not seem to end.
  const runc = (...args: string[]) => execa('runc', ['--root', join(work.path, 'runc'), ...args], { stdio: 'ignore' })
  await compare('a bare runc', byApi, {
    start: (id) => runc('run', '--detach', '--bundle', bundle, id),
    remove: (id) => runc('delete', '--force', id),
  })
  if (hasDocker) {
    await using docker = await startDocker(work.path)
    await docker.docker('pull', '--quiet', image)
    using runner = new DockerRunner(docker, image, ARGS)
    await compare("docker's API", byApi, { start: (id) => runner.start(id), remove: (id) => runner.remove(id) })
  }
  if (hasPodman) {
    await using podman = await startPodman(work.path)
    await podman.run('pull', '--quiet', '--tls-verify=false', image)
    await compare('podman run -d', byCommand, podmanWay(podman, image))
  }
  return found
}

/** Its own are above what a process without CAP_SYS_RESOURCE may set. */
const LIMITS = ['--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024']

const podmanWay = (podman: Podman, image: string): Way => ({
  start: (id) => podman.run('run', '--detach', '--network', 'none', ...LIMITS, '--name', id, image, ...ARGS),
  remove: (id) => podman.run('rm', '--force', '--time', '0', id),
})

/** A bundle of its own, with the specification of a container. */
async function bundleLike(model: string, parent: string): Promise<string> {
  const bundle = join(parent, 'bundle')
  await mkdir(join(bundle, 'rootfs'), { recursive: true })
  const spec = parseSpec(await readFile(join(model, 'config.json'), 'utf8'))
  const own = { ...spec, root: { path: 'rootfs' }, linux: { ...spec.linux, cgroupsPath: undefined } }
  await writeFile(join(bundle, 'config.json'), JSON.stringify(own))
  return bundle
}
