import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import { LogFile } from '../../../src/shim/log-file.ts'
import { LoggedOutput, type OutputChunk } from '../../../src/shim/output-hub.ts'
import { ProcessStdio } from '../../../src/shim/stdio.ts'
import { eventually, SEARCH_PATH, ShimHost } from '../../support/shims.ts'

const within = () => AbortSignal.timeout(30_000)
const logger = pino({ enabled: false })
const DAEMON = fileURLToPath(new URL('../../support/shim-daemon.ts', import.meta.url))

/** A task whose daemon was killed; it says `before` at its start, and `after` and exit code 9 on SIGUSR1. */
async function taskOfKilledDaemon(host: ShimHost, tail: string) {
  const script = `trap '${tail}' USR1; echo before; while :; do sleep 0.02; done`
  const { rootfs, ...task } = host.bundle('c1', { args: ['sh', '-c', script] })
  const ioDir = join(host.dir, 'io', 'c1')
  const logPath = join(host.dir, 'c1.log')
  const { dir: stateDir, eventsAddress } = host
  const config = { stateDir, eventsAddress, searchPath: SEARCH_PATH, task, rootfs, ioDir, logPath }
  const daemon = spawn(process.execPath, [DAEMON, JSON.stringify(config)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = await once(daemon.stdout, 'data', { signal: within() })
  const { pid, shimPid } = JSON.parse(String(line)) as { pid: number; shimPid: number }
  daemon.kill('SIGKILL')
  await once(daemon, 'close')
  return { task, pid, shimPid, ioDir, logPath }
}

const STATE = (pid: number) => /\) (\S) /.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1]
const isGone = (pid: number) => !existsSync(`/proc/${pid}`) || STATE(pid) === 'Z'

test('a task that ends while no daemon is there keeps its exit code and its last words', async () => {
  const signal = within()
  await using host = await ShimHost.start()
  const { task, pid, ioDir, logPath } = await taskOfKilledDaemon(host, 'echo after; seq 1 5000 >&2; exit 9')
  process.kill(pid, 'SIGUSR1')
  await eventually(() => isGone(pid), signal)

  const shim = await host.shims.adopt({ ...task, signal })
  assert.ok(shim)
  const stdio = ProcessStdio.attach(ioDir, { stdin: 'open', output: 'pipes' })
  const hub = new LoggedOutput(stdio.spool(), await LogFile.open(logPath, logger))
  await hub.ended
  const parts = { stdout: '', stderr: '' }
  for await (const { stream, data } of hub.subscribe({ replay: 'all', signal })) parts[stream] += data.toString()
  assert.equal(parts.stdout, 'before\nafter\n')
  assert.equal(parts.stderr, Array.from({ length: 5000 }, (_, n) => `${n + 1}\n`).join(''))
  const exit = await shim.wait({}, signal)
  assert.equal(exit.exitCode, 9)
  assert.equal((await shim.state({}, signal)).status, 'stopped')
  await shim.delete({}, signal)
  await shim.shutdown(signal)
  await stdio.remove()
  assert.deepEqual(host.remains(), [])
})

test('a task that goes on while no daemon is there is taken over', async () => {
  const signal = within()
  await using host = await ShimHost.start()
  const { task, pid, shimPid, ioDir, logPath } = await taskOfKilledDaemon(host, 'echo after; exit 9')
  const shim = await host.shims.adopt({ ...task, signal })
  assert.ok(shim)
  assert.deepEqual({ ...(await shim.connect(signal)), version: '' }, { shimPid, taskPid: pid, version: '' })
  const stdio = ProcessStdio.attach(ioDir, { stdin: 'open', output: 'pipes' })
  const hub = new LoggedOutput(stdio.spool(), await LogFile.open(logPath, logger))
  const live = text(bytesOf(hub.subscribe({ replay: 'none', signal })))
  process.kill(pid, 'SIGUSR1')
  assert.equal((await shim.wait({}, signal)).exitCode, 9)
  assert.equal(await live, 'after\n')
  await shim.delete({}, signal)
  await shim.shutdown(signal)
  assert.equal(await host.shims.adopt({ ...task, signal }), undefined)
})

test('a dead shim is noticed, and what it leaves is removed', async () => {
  const signal = within()
  await using host = await ShimHost.start()
  const { rootfs, ...task } = host.bundle('c1', { args: ['sleep', '1000'] })
  const stdio = await ProcessStdio.create(join(host.dir, 'io', 'c1'), { stdin: 'none', output: 'pipes' })
  const shim = await host.shims.start({ ...task, stdio, signal })
  const { pid } = await shim.create({ rootfs, io: stdio.io }, signal)
  await shim.start({}, signal)
  const waiting = assert.rejects(shim.wait({}, signal), { code: 'unavailable' })
  process.kill((await shim.connect(signal)).shimPid, 'SIGKILL')
  await shim.closed
  await waiting
  await assert.rejects(shim.state({}, signal), { code: 'unavailable' })
  assert.ok(!isGone(pid))
  assert.equal(await host.shims.adopt({ ...task, signal }), undefined)

  const socket = readFileSync(join(task.bundle, 'address'), 'utf8').slice('unix://'.length)
  assert.ok(existsSync(socket))
  await host.shims.removeRemains({ ...task, signal })
  assert.ok(isGone(pid))
  assert.ok(!existsSync(socket))
  assert.deepEqual(host.remains(), [])
  await host.shims.removeRemains({ ...task, signal })
})

test('remains are removed under a shim that lives, and without a bundle', async () => {
  const signal = within()
  await using host = await ShimHost.start()
  const { rootfs, ...task } = host.bundle('c1', { args: ['sleep', '1000'] })
  const shim = await host.shims.start({ ...task, signal })
  await shim.create({ rootfs }, signal)
  await host.shims.removeRemains({ ...task, signal })
  await shim.closed
  assert.deepEqual(host.remains(), [])

  const { rootfs: _, ...second } = host.bundle('c2', { args: ['sleep', '1000'] })
  await host.shims.start({ ...second, signal })
  const socket = readFileSync(join(second.bundle, 'address'), 'utf8').slice('unix://'.length)
  await rm(second.bundle, { recursive: true })
  await host.shims.removeRemains({ ...second, signal })
  assert.ok(!existsSync(socket))
  assert.deepEqual(host.remains(), [])
})

test('two daemons may have a task of the same name', async () => {
  const signal = within()
  await using host = await ShimHost.start()
  await using other = await ShimHost.start()
  const { rootfs, ...task } = host.bundle('c1', { args: ['sleep', '1000'] })
  const { rootfs: otherRootfs, ...otherTask } = other.bundle('c1', { args: ['sleep', '1000'] })
  const sameName = { ...otherTask, namespace: host.namespace }
  const shim = await host.shims.start({ ...task, signal })
  await shim.create({ rootfs }, signal)
  const otherShim = await other.shims.start({ ...sameName, signal })
  await otherShim.create({ rootfs: otherRootfs }, signal)
  await other.shims.removeRemains({ ...sameName, signal })
  assert.equal((await shim.state({}, signal)).status, 'created')
})

async function* bytesOf(chunks: AsyncIterable<OutputChunk>): AsyncGenerator<Buffer> {
  for await (const { data } of chunks) yield data
}

test('a shim that is killed while it creates leaves nothing, at whatever moment', async (t) => {
  const signal = within()
  await using host = await ShimHost.start()
  for (let n = 0; n < 10; n += 1) {
    const { rootfs, ...task } = host.bundle(`c${n}`, { args: ['sleep', '1000'] })
    const shim = await host.shims.start({ ...task, signal })
    const { shimPid } = await shim.connect(signal)
    const creating = shim.create({ rootfs }, signal).catch(() => {})
    const delayMs = randomInt(60)
    t.diagnostic(`killed after ${delayMs} ms`)
    await delay(delayMs)
    process.kill(shimPid, 'SIGKILL')
    await creating
    await host.shims.removeRemains({ ...task, signal })
    assert.deepEqual(host.remains(), [])
  }
})
