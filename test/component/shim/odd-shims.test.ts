import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Shims } from '../../../src/shim/shims.ts'
import { type Behaviour, makeOddShim } from '../../support/odd-shim.ts'
import { ShimHost } from '../../support/shims.ts'

const within = () => AbortSignal.timeout(30_000)
const ODD = 'odd'
const CALL_MS = 1000

/** A host with a runtime whose shim behaves as wanted, and a task for it. */
async function oddHost(behaviour: Behaviour, args = ['sh', '-c', 'exit 7']) {
  const host = await ShimHost.start()
  const shim = makeOddShim(join(host.dir, 'bin'), behaviour)
  const shimsWith = (callMs: number): Shims => host.newShims({ runtimes: { [ODD]: { shim: shim.path, callMs } } })
  const shims = shimsWith(20_000)
  const { rootfs: _, ...made } = host.bundle('c1', { args })
  const task = { ...made, runtime: ODD }
  return {
    host,
    shims,
    task,
    behave: shim.behave,
    /** Gives its shims little time. */
    impatient: shimsWith(CALL_MS),
    /** A shim that has started, and has little time from now on. */
    async startedShim() {
      await shims.start({ ...task, signal: within() })
      const shim = await this.impatient.adopt({ ...task, signal: within() })
      assert.ok(shim)
      return shim
    },
    async [Symbol.asyncDispose]() {
      await shims.removeRemains({ ...task, signal: within() })
      await host[Symbol.asyncDispose]()
    },
  }
}

const GENERATIONS: readonly Behaviour[] = [
  { taskApi: 2, answer: 'address' },
  { taskApi: 2, answer: 'json', protocol: 'grpc' },
  { taskApi: 3, answer: 'json' },
  { taskApi: 3, answer: 'binary', takes: 'params', protocol: 'grpc' },
]

for (const behaviour of GENERATIONS) {
  const { taskApi, protocol = 'ttrpc', answer, takes = 'options' } = behaviour
  test(`a task lives and ends through a shim of API v${taskApi} by ${protocol} that takes ${takes} and answers ${answer}`, async () => {
    const signal = within()
    await using odd = await oddHost(behaviour)
    const { shims, task, host } = odd
    const shim = await shims.start({ ...task, signal })
    const { pid } = await shim.create({}, signal)
    assert.equal((await shim.state({}, signal)).status, 'created')
    await shim.start({}, signal)
    assert.equal((await shim.wait({}, signal)).exitCode, 7)
    const adopted = await shims.adopt({ ...task, signal })
    assert.deepEqual((await adopted?.state({}, signal))?.exit?.exitCode, 7)
    await assert.rejects(shim.stats(signal), { code: 'unimplemented', message: /Stats is not served here/ })
    await host.event((event) => event.topic === '/tasks/exit' && event.pid === pid, signal)
    await shim.delete({}, signal)
    await assert.rejects(shim.state({}, signal), { code: 'not_found', message: 'task c1: container c1 not found' })
    await shim.shutdown(signal)
    assert.ok(shim.isClosed)
    await assert.rejects(shim.state({}, signal), { code: 'unavailable' })
  })
}

test('the form of input that a shim was found to read is kept to', async () => {
  const signal = within()
  await using odd = await oddHost({ answer: 'binary', takes: 'params' })
  await (await odd.shims.start({ ...odd.task, signal })).shutdown(signal)
  odd.behave({ answer: 'json', takes: 'options' })
  await assert.rejects(odd.shims.start({ ...odd.task, signal }), { message: /type with url c1 not found/ })
})

const FAILING_STARTS: readonly (readonly [Behaviour, object])[] = [
  [{ start: 'fail' }, { code: 'internal', message: 'the shim of task c1 did not start: no space for a shim' }],
  [{ start: 'never' }, { code: 'deadline_exceeded', message: 'the shim of task c1 did not start within 1000 ms' }],
  [{ answer: 'garbage' }, { code: 'unimplemented', message: /which is no address/ }],
]

for (const [behaviour, error] of FAILING_STARTS) {
  test(`a shim whose start goes wrong (${JSON.stringify(behaviour)}) is told, and leaves nothing`, async () => {
    await using odd = await oddHost(behaviour)
    const shims = behaviour.start === 'never' ? odd.impatient : odd.shims
    await assert.rejects(shims.start({ ...odd.task, signal: within() }), error)
    assert.deepEqual(odd.host.remains(), [])
  })
}

for (const protocol of ['ttrpc', 'grpc'] as const) {
  test(`what goes wrong in Create is told by code and within its time, by ${protocol}`, async () => {
    const signal = within()
    await using odd = await oddHost({ protocol })
    const shim = await odd.startedShim()
    const create = (does: 'never' | 'garbage' | 'refuse' | 'die') => {
      odd.behave({ protocol, faults: { Create: { does } } })
      return shim.create({}, signal)
    }
    await assert.rejects(create('never'), {
      code: 'deadline_exceeded',
      message: `task c1: the shim did not answer Create within ${CALL_MS} ms`,
    })
    await assert.rejects(create('garbage'), { code: 'internal', message: /the answer to Create cannot be read/ })
    await assert.rejects(create('refuse'), { code: 'internal', message: 'task c1: out of order' })
    odd.behave({ protocol, faults: { Create: { delayMs: CALL_MS / 2 } } })
    assert.ok((await shim.create({}, signal)).pid > 0, 'late, but in time')
    await assert.rejects(create('die'), { code: 'unavailable' })
    await shim.closed
    await odd.shims.removeRemains({ ...odd.task, signal })
    assert.deepEqual(odd.host.remains(), [])
  })
}

test('a wait has no deadline, and outlives calls that have', async () => {
  const signal = within()
  await using odd = await oddHost({ faults: { State: { does: 'never' } } }, ['sleep', '1000'])
  const shim = await odd.startedShim()
  await shim.create({}, signal)
  await shim.start({}, signal)
  const waiting = shim.wait({}, signal)
  await assert.rejects(shim.state({}, signal), { code: 'deadline_exceeded' })
  await shim.kill({ signal: 9 }, signal)
  assert.equal((await waiting).exitCode, 137)
})

test('a runtime that is tried tells what its shim speaks, and nothing of it stays', async () => {
  const signal = within()
  await using odd = await oddHost({ taskApi: 2, protocol: 'grpc' })
  const dir = join(odd.host.dir, 'try')
  const { protocol, taskApi } = await odd.shims.probe(ODD, dir, signal)
  assert.deepEqual({ protocol, taskApi }, { protocol: 'grpc', taskApi: 2 })
  assert.deepEqual(odd.host.remains(), [])
  odd.behave({ faults: { Connect: { does: 'never' } } })
  await assert.rejects(odd.impatient.probe(ODD, dir, signal), { code: 'deadline_exceeded' })
  assert.deepEqual(odd.host.remains(), [])
})
