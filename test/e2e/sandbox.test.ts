import assert from 'node:assert/strict'
import { readdir, readFile, readlink, writeFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { type CliNode, startCliNode } from '../support/cli.ts'
import {
  checkBooks,
  checkLife,
  collected,
  events,
  eventually,
  gone,
  pidOf,
  taskOf,
  taskReleased,
} from '../support/faults.ts'
import { reboot } from '../support/reboot.ts'

let at: CliNode
before(async () => {
  at = await startCliNode()
})
after(() => at[Symbol.asyncDispose]())

const ok = (...args: string[]) => at.ok(...args)
const refused = (...args: string[]) => at.refused(...args)

/** Pids of the shims of this node that are no spare ones. */
async function shims(): Promise<number[]> {
  const found: number[] = []
  for (const name of await readdir('/proc')) {
    const words = (await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')).split('\0')
    if (!words.includes(`${at.node.state}/containerd.sock`)) continue
    const cwd = await readlink(`/proc/${name}/cwd`).catch(() => '')
    if (!cwd.includes('/spares/')) found.push(Number(name))
  }
  return found
}

const sandboxOf = async (id: string) => JSON.parse(await ok('sandbox', 'inspect', id))[0]

const released = (id: string) => taskReleased(at.node, id)

const FOREVER = ['sleep', '1000']

for (const runtime of ['runc', 'crun']) {
  test(`containers of a sandbox share one shim of ${runtime}, and network, IPC and name; each has processes and an end of its own`, async () => {
    assert.equal(await ok('sandbox', 'create', '--runtime', runtime, '--hostname', 'podname', 'pod'), 'pod')
    assert.match(await refused('run', '--sandbox', 'pod', at.image, 'true'), /sandbox pod.*is created/)
    await ok('sandbox', 'start', 'pod')
    await ok('run', '-d', '--name', 'a', '--sandbox', 'pod', at.image, ...FOREVER)
    await ok('run', '-d', '--name', 'b', '--sandbox', 'pod', at.image, ...FOREVER)
    const [shim, ...more] = await shims()
    assert.deepEqual(more, [])
    const [a, b] = [await pidOf(at.node, 'a'), await pidOf(at.node, 'b')]
    const namespace = (pid: number | 'self', kind: string) => readlink(`/proc/${pid}/ns/${kind}`)
    for (const kind of ['net', 'ipc', 'uts']) {
      assert.equal(await namespace(a, kind), await namespace(b, kind), kind)
      assert.notEqual(await namespace(a, kind), await namespace('self', kind), kind)
    }
    for (const kind of ['pid', 'mnt']) assert.notEqual(await namespace(a, kind), await namespace(b, kind), kind)
    await ok('exec', 'a', 'sh', '-c', 'echo shared > /dev/shm/note')
    assert.equal(
      await ok('exec', 'b', 'sh', '-c', 'cat /dev/shm/note; hostname; ip -o link | wc -l'),
      'shared\npodname\n1',
    )

    const short = await at.cli(
      'run',
      '--name',
      `short-${runtime}`,
      '--sandbox',
      'pod',
      at.image,
      'sh',
      '-c',
      'echo out; exit 7',
    )
    assert.deepEqual([short.exitCode, short.stdout], [7, 'out\n'])
    await released(`short-${runtime}`)
    await checkLife(at.node, `short-${runtime}`, 7)
    await ok('rm', '-f', `short-${runtime}`, 'a')
    assert.deepEqual(await shims(), [shim])
    assert.equal(await ok('exec', 'b', 'cat', '/dev/shm/note'), 'shared')
    assert.match(await ok('task', 'doctor'), /^b +running +.*healthy/m)

    assert.match(await refused('sandbox', 'rm', 'pod'), /sandbox pod is in use: container b is in it/)
    await ok('sandbox', 'stop', '-t', '1', 'pod')
    assert.equal((await taskOf(at.node, 'b')).status, 'stopped')
    assert.deepEqual(await shims(), [])
    assert.equal((await sandboxOf('pod')).host, 'released')
    await ok('sandbox', 'rm', '-f', 'pod')
    assert.equal(await ok('ps', '-aq'), '')
    assert.equal(await ok('sandbox', 'ls', '-q'), '')
    assert.deepEqual(await readdir(`${at.node.state}/sandboxes/default`), [])
    await checkBooks(at.node)
  })
}

test('of a sandbox that outlives a killed daemon every exit is recorded, and its shim takes tasks along only when it dies', async () => {
  await ok('sandbox', 'create', 'pod')
  await ok('sandbox', 'start', 'pod')
  const [shim = 0] = await shims()
  const run = (id: string, script: string, ...options: string[]) =>
    ok('run', '-d', '--name', id, '--sandbox', 'pod', ...options, at.image, 'sh', '-c', script)
  await run('stays', 'while true; do sleep 0.05; done')
  await run('ends', 'sleep 1000')
  await run('speaks', 'while [ ! -e /dev/shm/go ]; do sleep 0.02; done; echo last words; exit 3')
  await run('again', 'sleep 1000', '--restart', 'always')
  const [ends, stays] = [await pidOf(at.node, 'ends'), await pidOf(at.node, 'stays')]
  const speaks = await pidOf(at.node, 'speaks')
  await at.node.kill9()
  await writeFile(`${at.node.state}/sandboxes/default/pod/mounts/shm/go`, '')
  process.kill(ends, 'SIGKILL')
  await Promise.all([collected(ends), collected(speaks)])
  await at.node.restart()
  await eventually(
    () => taskOf(at.node, 'ends'),
    ({ status }) => status === 'stopped',
  )
  await checkLife(at.node, 'ends', 137)
  await released('speaks')
  await checkLife(at.node, 'speaks', 3)
  assert.equal(await ok('logs', 'speaks'), 'last words')
  assert.deepEqual(await shims(), [shim])
  assert.equal(await ok('exec', 'stays', 'hostname'), 'pod')
  assert.equal(await pidOf(at.node, 'stays'), stays)
  process.kill(await pidOf(at.node, 'again'), 'SIGKILL')
  const started = async () => (await events(at.node, 'task/again')).filter(({ type }) => type === 'task.started').length
  await eventually(started, (count) => count === 2)
  assert.deepEqual(await shims(), [shim])

  process.kill(shim, 'SIGKILL')
  const lost = await eventually(
    () => taskOf(at.node, 'stays'),
    ({ status }) => status === 'stopped',
  )
  assert.match(lost.reason ?? '', /^lost: its shim died/)
  await gone(stays)
  const sandbox = await eventually(
    () => sandboxOf('pod'),
    ({ status }) => status === 'stopped',
  )
  assert.equal(sandbox.reason, 'lost: its shim died')
  assert.match(await refused('start', 'ends'), /sandbox pod.*is stopped.*purser sandbox start pod/s)
  await ok('sandbox', 'start', 'pod')
  await ok('start', 'ends')
  await eventually(started, (count) => count === 3, 30_000)
  assert.equal((await shims()).length, 1)

  await reboot(at.node)
  at.node.start()
  await at.node.ready()
  assert.equal((await sandboxOf('pod')).reason, 'lost: the machine was rebooted')
  await ok('sandbox', 'start', 'pod')
  await ok('sandbox', 'rm', '-f', 'pod')
  assert.deepEqual(await shims(), [])
  await checkBooks(at.node)
})
