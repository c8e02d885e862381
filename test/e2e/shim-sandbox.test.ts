import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { type CliNode, startCliNode } from '../support/cli.ts'
import { checkBooks, collected, events, eventually, gone, submitSurely, succeeded, taskOf } from '../support/faults.ts'
import { makeOddShim, type OddShim } from '../support/odd-shim.ts'
import { CALLS } from '../support/odd-shim-sandbox.ts'
import { temporaryDirectory } from '../support/trees.ts'

const own = temporaryDirectory()

const VM = { sandboxes: 'kept', protocol: 'grpc' } as const

/** Runtimes of the configuration, each with a shim of its own. */
const SHIMS = {
  vm: makeOddShim(own.path, VM, 'vm'),
  old: makeOddShim(own.path, { sandboxes: 'timeless', taskApi: 2, answer: 'address' }, 'old'),
  none: makeOddShim(own.path, {}, 'none'),
} as const satisfies Record<string, OddShim>

let at: CliNode
before(async () => {
  const runtimes = Object.entries(SHIMS).map(
    ([name, { path }]) => `[runtime.${name}]\nshim = "${path}"\ntimeout = "3s"`,
  )
  at = await startCliNode({ config: runtimes.join('\n') })
})
after(async () => {
  await at[Symbol.asyncDispose]()
  own[Symbol.dispose]()
})

const ok = (...args: string[]) => at.ok(...args)

const make = (runtime: string, id: string) =>
  at.cli('sandbox', 'create', '--sandboxer', 'shim', '--runtime', runtime, '--annotation', 'pod=web', id)

async function running(runtime: string, id: string): Promise<number> {
  const made = await make(runtime, id)
  assert.equal(made.exitCode, 0, made.stderr)
  await ok('sandbox', 'start', id)
  return (await sandboxOf(id)).pid
}

const sandboxOf = async (id: string) => JSON.parse(await ok('sandbox', 'inspect', id))[0]

/** What its shim was asked to do. */
const calls = async (id: string): Promise<string[]> =>
  (await readFile(`${at.node.state}/sandboxes/default/${id}/${CALLS}`, 'utf8')).trimEnd().split('\n')

const typesOf = async (id: string) =>
  (await events(at.node, `sandbox/${id}`)).map(({ type }) => type.slice('sandbox.'.length))

const stopped = (id: string) =>
  eventually(
    () => sandboxOf(id),
    ({ status }) => status === 'stopped',
  )

const LIFE = ['creating', 'created', 'starting', 'started']
const END = ['stopping', 'exited', 'released', 'deleting', 'deleted']

for (const runtime of ['vm', 'old'] as const) {
  test(`a shim keeps its sandbox, and runs containers in it: ${JSON.stringify(runtime)}`, async () => {
    const id = `kept-${runtime}`
    const pid = await running(runtime, id)
    const [create = '', start, ...more] = await calls(id)
    assert.equal(create, `create ${at.node.state}/netns/default__sandbox__${id} {"pod":"web"}`)
    assert.deepEqual([start, more], ['start', []])
    const { shim } = await sandboxOf(id)
    assert.deepEqual(shim.platform, { os: 'linux', architecture: 'amd64', variant: '' })
    assert.equal(shim.state, runtime === 'old' ? '' : 'SANDBOX_READY')
    const name = `c-${runtime}`
    assert.equal((await at.cli('run', '--name', name, '--sandbox', id, at.image, 'sh', '-c', 'exit 7')).exitCode, 7)
    await ok('run', '-d', '--name', `${name}-2`, '--sandbox', id, at.image, 'sleep', '1000')
    const members = (await sandboxOf(id)).containers.map((each: { id: string }) => each.id)
    assert.deepEqual(members.sort(), [name, `${name}-2`])
    await ok('sandbox', 'stop', '-t', '1', id)
    assert.equal((await taskOf(at.node, `${name}-2`)).exitCode, 143)
    const { exitCode, reason } = await sandboxOf(id)
    assert.deepEqual([exitCode, reason], [runtime === 'old' ? undefined : 143, undefined])
    await gone(pid)
    await ok('sandbox', 'rm', '-f', id)
    assert.deepEqual(await typesOf(id), [...LIFE, ...END])
  })
}

test('the end of a sandbox is recorded once, with its exit code, whether a daemon was there or not', async () => {
  const pids = {
    here: await running('vm', 'here'),
    away: await running('vm', 'away'),
    stays: await running('old', 'stays'),
  }
  process.kill(pids.here, 'SIGTERM')
  assert.equal((await stopped('here')).exitCode, 143)
  await at.node.kill9()
  process.kill(pids.away, 'SIGKILL')
  await collected(pids.away)
  await at.node.restart()
  assert.equal((await stopped('away')).exitCode, 137)
  assert.equal((await sandboxOf('stays')).status, 'running')
  assert.equal((await sandboxOf('here')).exitCode, 143)
  for (const id of ['here', 'away']) assert.deepEqual(await typesOf(id), [...LIFE, 'exited'])
  await ok('sandbox', 'start', 'here')
  assert.equal((await sandboxOf('here')).status, 'running')
  assert.equal((await make('vm', 'idle')).exitCode, 0)
  await ok('sandbox', 'rm', '-f', 'here', 'away', 'stays', 'idle')
  await gone(pids.stays)
  await checkBooks(at.node)
})

test('a daemon killed while a sandbox starts has it started once', async () => {
  assert.equal((await make('vm', 'once')).exitCode, 0)
  SHIMS.vm.behave({ ...VM, faults: { StartSandbox: { delayMs: 700 } } })
  const command = await submitSurely(at.node, { type: 'sandbox.start', subject: 'once' }, AbortSignal.timeout(20_000))
  await eventually(
    () => sandboxOf('once'),
    ({ status }) => status === 'starting',
  )
  await at.node.kill9()
  await eventually(
    () => calls('once'),
    (made) => made.includes('start'),
  )
  SHIMS.vm.behave(VM)
  await at.node.restart()
  await succeeded(at.node, command)
  assert.deepEqual((await calls('once')).slice(1), ['start'])
  await ok('sandbox', 'rm', '-f', 'once')
})

test('a shim without sandboxes is refused by the name of its runtime; one that fails, hangs or dies leaves nothing', async () => {
  const refused = await make('none', 'pod')
  assert.match(refused.stderr, /the shim of runtime none keeps no sandboxes.*--sandboxer podsandbox/s)
  const plain = await at.cli('sandbox', 'create', '--runtime', 'none', 'pod')
  assert.match(plain.stderr, /runtime none join no namespaces.*--sandboxer shim/s)
  SHIMS.vm.behave({ ...VM, faults: { CreateSandbox: { does: 'die' } } })
  assert.notEqual((await make('vm', 'pod')).exitCode, 0)
  assert.equal((await typesOf('pod')).at(-1), 'create-failed')
  SHIMS.vm.behave({ ...VM, faults: { StartSandbox: { does: 'never' } } })
  assert.equal((await make('vm', 'pod')).exitCode, 0)
  const hung = await at.cli('sandbox', 'start', 'pod')
  assert.match(hung.stderr, /did not answer StartSandbox within 3000 ms/)
  const { status, host, reason } = await sandboxOf('pod')
  assert.deepEqual([status, host], ['stopped', 'released'])
  assert.match(reason, /^it did not start: /)
  assert.deepEqual(await readdir(`${at.node.state}/sandboxes/default`), [])
  SHIMS.vm.behave({ ...VM, faults: { ShutdownSandbox: { does: 'never' } } })
  await ok('sandbox', 'start', 'pod')
  const { pid } = await sandboxOf('pod')
  await ok('sandbox', 'stop', '-t', '0', 'pod')
  await gone(pid)
  await ok('sandbox', 'rm', 'pod')
  assert.deepEqual(await readdir(`${at.node.state}/sandboxes/default`), [])
  await checkBooks(at.node)
})
