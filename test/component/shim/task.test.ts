import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pino } from 'pino'
import { PurserError } from '../../../src/model/errors.ts'
import { LogFile } from '../../../src/shim/log-file.ts'
import { DirectOutput, LoggedOutput, type OutputHub } from '../../../src/shim/output-hub.ts'
import { ProcessStdio } from '../../../src/shim/stdio.ts'
import { ShimHost, testProcess } from '../../support/shims.ts'

const within = () => AbortSignal.timeout(30_000)

async function collect(hub: OutputHub): Promise<{ stdout: Buffer; stderr: Buffer }> {
  const parts: { stdout: Buffer[]; stderr: Buffer[] } = { stdout: [], stderr: [] }
  for await (const { stream, data } of hub.subscribe({ replay: 'all', signal: within() })) parts[stream].push(data)
  return { stdout: Buffer.concat(parts.stdout), stderr: Buffer.concat(parts.stderr) }
}

test('a task runs to its end, gives its exit code and leaves nothing', async () => {
  const signal = within()
  await using host = await ShimHost.start()
  const { rootfs, ...task } = host.bundle('c1', { args: ['sh', '-c', 'exit 7'] })
  const shim = await host.shims.start({ ...task, signal })
  const { shimPid, taskPid } = await shim.connect(signal)
  assert.equal(taskPid, 0)
  const { pid } = await shim.create({ rootfs }, signal)
  assert.equal((await shim.state({}, signal)).status, 'created')
  assert.equal((await shim.start({}, signal)).pid, pid)
  const exit = await shim.wait({}, signal)
  assert.equal(exit.exitCode, 7)
  assert.match(exit.exitedAt ?? '', /^20\d\d-.*\.\d{9}Z$/)
  assert.deepEqual((await shim.state({}, signal)).exit, exit)
  assert.deepEqual(await shim.delete({}, signal), { pid, ...exit })
  const address = readFileSync(join(task.bundle, 'address'), 'utf8').slice('unix://'.length)
  assert.ok(existsSync(address))
  await shim.shutdown(signal)
  assert.ok(!existsSync(address))
  assert.ok(!readdirSync('/proc').includes(String(shimPid)) || host.remains().length === 0)
  assert.deepEqual(host.remains(), [])
})

test('what a task does arrives as events', async () => {
  const signal = within()
  await using host = await ShimHost.start()
  const { rootfs, ...task } = host.bundle('c1', { args: ['sh', '-c', 'exit 3'] })
  const shim = await host.shims.start({ ...task, signal })
  const { pid } = await shim.create({ rootfs }, signal)
  await shim.start({}, signal)
  const { exitedAt } = await shim.wait({}, signal)
  const event = await host.event(({ topic }) => topic === '/tasks/exit', signal)
  assert.deepEqual(
    { ...event, at: undefined },
    {
      topic: '/tasks/exit',
      namespace: host.namespace,
      containerId: 'c1',
      execId: undefined,
      pid,
      exitCode: 3,
      exitedAt,
      at: undefined,
    },
  )
  await host.event((event) => event.topic === '/tasks/create' && event.pid === pid, signal)
  await host.event((event) => event.topic === '/tasks/start' && event.pid === pid, signal)
  await shim.delete({}, signal)
  await host.event(({ topic }) => topic === '/tasks/delete', signal)
})

test('every byte of both streams is in the log, in order', async () => {
  const signal = within()
  await using host = await ShimHost.start()
  const script = 'seq 1 200000 | head -c 1048576; seq 200000 -1 1 | head -c 1048576 >&2'
  const { rootfs, ...task } = host.bundle('c1', { args: ['sh', '-c', script] })
  const stdio = await ProcessStdio.create(join(host.dir, 'io', 'c1'), { stdin: 'none', output: 'pipes' })
  const log = await LogFile.open(join(host.dir, 'c1.log'), pino({ enabled: false }))
  const hub = new LoggedOutput(stdio.spool(), log)
  const live = collect(hub)
  const shim = await host.shims.start({ ...task, stdio, signal })
  await shim.create({ rootfs, io: stdio.io }, signal)
  await shim.start({}, signal)
  assert.equal((await shim.wait({}, signal)).exitCode, 0)
  await hub.ended
  const counted = (from: number, to: number, step: number) => {
    let text = ''
    for (let n = from; n !== to + step; n += step) text += `${n}\n`
    return text.slice(0, 1_048_576)
  }
  for (const { stdout, stderr } of [await live, await collect(hub)]) {
    assert.equal(stdout.length, 1_048_576)
    assert.ok(stdout.equals(Buffer.from(counted(1, 200_000, 1))))
    assert.ok(stderr.equals(Buffer.from(counted(200_000, 1, -1))))
  }
  await shim.delete({}, signal)
  await shim.shutdown(signal)
  await stdio.remove()
})

test('a process sees no descriptor but its streams', async () => {
  const signal = within()
  await using host = await ShimHost.start()
  const { rootfs, ...task } = host.bundle('c1', { args: ['sh', '-c', 'ls /proc/self/fd; ls /proc/1/fd; true'] })
  const stdio = await ProcessStdio.create(join(host.dir, 'io', 'c1'), { stdin: 'none', output: 'pipes' })
  const hub = new DirectOutput(stdio.read())
  const shim = await host.shims.start({ ...task, stdio, signal })
  await shim.create({ rootfs, io: stdio.io }, signal)
  await shim.start({}, signal)
  await shim.wait({}, signal)
  assert.equal((await collect(hub)).stdout.toString(), '0\n1\n2\n3\n0\n1\n2\n')
})

test('input reaches the process, and its end too', async () => {
  const signal = within()
  await using host = await ShimHost.start()
  const { rootfs, ...task } = host.bundle('c1', { args: ['cat'] })
  const stdio = await ProcessStdio.create(join(host.dir, 'io', 'c1'), { stdin: 'open', output: 'pipes' })
  const hub = new DirectOutput(stdio.read())
  const shim = await host.shims.start({ ...task, stdio, signal })
  assert.throws(() => stdio.openStdin(), { code: 'failed_precondition' })
  await shim.create({ rootfs, io: stdio.io }, signal)
  await shim.start({}, signal)
  const sent = Buffer.alloc(300_000, 'all work and no play\n')
  const stdin = stdio.openStdin()
  stdin.end(sent)
  const received = collect(hub)
  await new Promise((resolve) => stdin.once('finish', resolve))
  await shim.closeIO({}, signal)
  assert.ok((await received).stdout.equals(sent))
  assert.equal((await shim.wait({}, signal)).exitCode, 0)
})

test('a terminal has the size it is given', async () => {
  const signal = within()
  await using host = await ShimHost.start()
  const script = 'echo ready; read line; stty size; echo $line'
  const { rootfs, ...task } = host.bundle('c1', { args: ['sh', '-c', script], terminal: true })
  const stdio = await ProcessStdio.create(join(host.dir, 'io', 'c1'), { stdin: 'open', output: 'terminal' })
  const hub = new DirectOutput(stdio.read())
  const shim = await host.shims.start({ ...task, stdio, signal })
  await shim.create({ rootfs, io: stdio.io }, signal)
  await shim.start({}, signal)
  await shim.resizePty({ width: 132, height: 43 }, signal)
  stdio.openStdin().write('typed\n')
  const text = (await collect(hub)).stdout.toString()
  assert.match(text, /43 132\r\ntyped\r\n$/)
  assert.equal((await shim.state({}, signal)).terminal, true)
})

test('a second process in a task has its own output and exit code', async () => {
  const signal = within()
  await using host = await ShimHost.start()
  const { rootfs, ...task } = host.bundle('c1', { args: ['sleep', '100'] })
  const shim = await host.shims.start({ ...task, signal })
  await shim.create({ rootfs }, signal)
  await shim.start({}, signal)
  const stdio = await ProcessStdio.create(join(host.dir, 'io', 'e1'), { stdin: 'none', output: 'pipes' })
  const hub = new DirectOutput(stdio.read())
  const process = testProcess({ args: ['sh', '-c', 'echo out; echo err >&2; exit 5'] })
  await shim.exec({ execId: 'e1', process, io: stdio.io }, signal)
  const { pid } = await shim.start({ execId: 'e1' }, signal)
  assert.ok(pid > 0)
  const { exitCode } = await shim.wait({ execId: 'e1' }, signal)
  assert.equal(exitCode, 5)
  const { stdout, stderr } = await collect(hub)
  assert.deepEqual([stdout.toString(), stderr.toString()], ['out\n', 'err\n'])
  await shim.delete({ execId: 'e1' }, signal)
  await assert.rejects(shim.state({ execId: 'e1' }, signal), { code: 'not_found' })
  await assert.rejects(
    shim
      .exec({ execId: 'e2', process: testProcess({ args: ['nope'] }) }, signal)
      .then(() => shim.start({ execId: 'e2' }, signal)),
    {
      code: 'not_found',
      message: 'task c1: exec: "nope": executable file not found in $PATH',
    },
  )
  assert.equal((await shim.pids(signal)).length, 1)
  const stats = await shim.stats(signal)
  assert.ok(stats.cpuNs > 0 && stats.memoryBytes > 0 && stats.pids === 1, JSON.stringify(stats.pids))
  await shim.update({ resources: { memory: { limit: 64 << 20 } } }, signal)
  assert.equal((await shim.stats(signal)).memoryLimitBytes, 64 << 20)
  await shim.pause(signal)
  assert.equal((await shim.state({}, signal)).status, 'paused')
  await shim.resume(signal)
  assert.equal((await shim.state({}, signal)).status, 'running')
  await shim.kill({ signal: 9 }, signal)
  assert.equal((await shim.wait({}, signal)).exitCode, 137)
  await shim.delete({}, signal)
  await shim.shutdown(signal)
  assert.deepEqual(host.remains(), [])
})

test('a program that is not in the image is named, and leaves nothing', async () => {
  const signal = within()
  await using host = await ShimHost.start()
  const { rootfs, ...task } = host.bundle('c1', { args: ['nope'] })
  const shim = await host.shims.start({ ...task, signal })
  await assert.rejects(shim.create({ rootfs }, signal), (error) => {
    assert.ok(error instanceof PurserError)
    assert.equal(error.code, 'not_found')
    assert.equal(error.message, 'task c1: exec: "nope": executable file not found in $PATH')
    return true
  })
  await assert.rejects(shim.state({}, signal), { code: 'not_found' })
  await shim.shutdown(signal)
  assert.deepEqual(host.remains(), [])
})

test('a create that fails at the streams leaves no process', async () => {
  const signal = within()
  await using host = await ShimHost.start()
  const { rootfs, ...task } = host.bundle('c1', { args: ['true'] })
  const shim = await host.shims.start({ ...task, signal })
  const stdout = join(host.dir, 'absent', 'stdout')
  await assert.rejects(shim.create({ rootfs, io: { stdin: '', stdout, stderr: '', terminal: false } }, signal))
  await shim.shutdown(signal)
  assert.deepEqual(host.remains(), [])
})

test('a runtime that is not installed is named, with its package', async () => {
  const signal = within()
  await using host = await ShimHost.start()
  const { rootfs, ...task } = host.bundle('c1', { args: ['true'] })
  const absent = host.newShims({ searchPath: host.dir })
  await assert.rejects(absent.start({ ...task, signal }), {
    code: 'failed_precondition',
    message: `runtime io.containerd.runc.v2 needs containerd-shim-runc-v2, which is not in ${host.dir}`,
    remedy: 'install it: apt install containerd',
  })
  const options = { binaryName: '/opt/absent/crun' }
  await assert.rejects(host.newShims({ runtimes: { [task.runtime]: { options } } }).start({ ...task, signal }), {
    code: 'failed_precondition',
    message: 'runtime io.containerd.runc.v2 needs /opt/absent/crun, which is not there',
  })
  assert.equal(rootfs.length, 1)
})
