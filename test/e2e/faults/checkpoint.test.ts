import assert from 'node:assert/strict'
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type CliNode, startCliNode } from '../../support/cli.ts'
import { checkBooks, events, eventually, pidOf, submit, taskOf } from '../../support/faults.ts'
import { type Behaviour, makeOddShim } from '../../support/odd-shim.ts'
import { temporaryDirectory } from '../../support/trees.ts'

const own = temporaryDirectory()

function program(name: string, script: string): string {
  const path = join(own.path, name)
  writeFileSync(path, `#!/bin/sh\n${script}\n`)
  chmodSync(path, 0o755)
  return path
}

const FEATURES = '{"annotations":{"org.opencontainers.runc.checkpoint.enabled":"true"}}'
const RUNC = program('runc', `case $1 in --version) echo runc version 99.0.0;; features) echo '${FEATURES}';; esac`)
const CRIU = program('criu', 'echo Version: 4.2')
const BAD_CRIU = program(
  'bad-criu',
  '[ $1 = --version ] && echo Version: 3.17.1 || { echo "Error (criu/vdso.c:381): vdso: Unexpected area" >&2; exit 1; }',
)

/** The runc shim by its name, so that it is asked for checkpoints. */
const says = '2.0.0'
const shim = makeOddShim(own.path, { says }, 'containerd-shim-runc-odd')
const behave = (checkpoint?: Behaviour['checkpoint']) =>
  shim.behave({ says, ...(checkpoint === undefined ? {} : { checkpoint }) })
const runtimeOf = (name: string, criu: string) =>
  [
    `[runtime.${name}]\nshim = ${JSON.stringify(shim.path)}\nbinary = ${JSON.stringify(RUNC)}\ntimeout = "3s"`,
    `[runtime.${name}.options]\ncriuPath = ${JSON.stringify(criu)}\n`,
  ].join('\n')

let at: CliNode
before(async () => {
  at = await startCliNode({ config: runtimeOf('odd', CRIU) + runtimeOf('old', BAD_CRIU) })
})
after(async () => {
  await at[Symbol.asyncDispose]()
  own[Symbol.dispose]()
})

async function run(id: string, runtime = 'odd', more: Record<string, unknown> = {}) {
  const payload = { image: at.image, runtime, options: { args: ['sleep', '1000'] }, ...more }
  const answer = await submit(at.node, { type: 'container.run', subject: id, payload })
  assert.equal(answer.status, 200, answer.text)
}
const checkpoint = (id: string, payload: Record<string, unknown> = {}, prefer?: string) =>
  submit(at.node, { type: 'task.checkpoint', subject: id, payload: { name: 'one', ...payload } }, prefer)
const remove = (id: string) => at.cli('rm', '-f', id)

const dirOf = (id: string) => join(at.node.root, 'containers/default', id, 'checkpoints')
const onDisk = (id: string) => (existsSync(dirOf(id)) ? readdirSync(dirOf(id)) : [])
const told = async (id: string) =>
  (await events(at.node, `task/${id}`)).map(({ type }) => type).filter((type) => type.includes('checkpoint'))

test('where checkpoints do not work it is told what is in the way, before anything is touched', async () => {
  await run('old', 'old')
  const reason = /CRIU 3\.17\.1 does not work on this kernel: vdso: Unexpected area/
  const { exitCode, stderr } = await at.cli('checkpoint', 'create', 'old', 'one')
  assert.equal(exitCode, 65)
  assert.match(stderr, reason)
  assert.match((await at.cli('runtime', 'check', 'old')).stdout, reason)
  assert.deepEqual([await told('old'), onDisk('old')], [[], []])
  await remove('old')
})

test('what cannot be in a checkpoint is refused before anything is touched', async () => {
  await run('runs')
  const answer = await checkpoint('runs', { processes: 'go-on', files: 'keep' })
  assert.match(answer.text, /would not be those of the moment/)
  assert.equal((await submit(at.node, { type: 'task.pause', subject: 'runs' })).status, 200)
  assert.match((await checkpoint('runs')).text, /is paused, not running/)
  assert.deepEqual([await told('runs'), onDisk('runs')], [[], []])
  await remove('runs')
})

const FAILURES: readonly (readonly [Behaviour['checkpoint'], RegExp])[] = [
  ['half-refused', /CRIU says: inet: Connected TCP socket/],
  ['half-hangs', /did not answer Checkpoint within 3000 ms/],
]

for (const [how, message] of FAILURES) {
  test(`of a checkpoint that fails nothing is left, and the processes go on (${how})`, async () => {
    const id = String(how)
    behave(how)
    await run(id)
    const pid = await pidOf(at.node, id)
    assert.match((await checkpoint(id)).text, message)
    assert.deepEqual(await told(id), ['task.checkpointing', 'task.checkpoint-failed'])
    assert.deepEqual([onDisk(id), await pidOf(at.node, id)], [[], pid])
    behave()
    assert.equal((await checkpoint(id, { processes: 'go-on' })).status, 200, 'the name is free')
    assert.deepEqual([onDisk(id), await pidOf(at.node, id)], [['one'], pid])
    await remove(id)
  })
}

test('a shim that dies in the middle of a checkpoint leaves none, and its task is lost', async () => {
  behave('half-dies')
  await run('dies')
  assert.notEqual((await checkpoint('dies')).status, 200)
  assert.deepEqual([await told('dies'), onDisk('dies')], [['task.checkpointing', 'task.checkpoint-failed'], []])
  const { reason } = await eventually(
    () => taskOf(at.node, 'dies'),
    ({ status }) => status === 'stopped',
  )
  assert.match(reason ?? '', /^lost/)
  await remove('dies')
})

/** Asks for a checkpoint, and kills the daemon when the shim has written what it writes. */
async function killedInCheckpoint(id: string, how: Behaviour['checkpoint'], file: string, payload: object) {
  behave(how)
  await run(id, 'odd', { restart: { policy: 'unless-stopped' } })
  await checkpoint(id, { ...payload }, 'respond-async')
  await eventually(async () => existsSync(join(dirOf(id), '.one.part', file)), Boolean)
  await at.node.kill9()
  behave()
  await at.node.restart()
  await eventually(
    () => told(id),
    (types) => types.length === 2,
  )
  assert.deepEqual([await told(id), onDisk(id)], [['task.checkpointing', 'task.checkpointed'], ['one']])
}

test('a daemon killed in the middle of a checkpoint: the half-written one is not taken for whole', async () => {
  await killedInCheckpoint('half', 'half-hangs', 'images/inventory.img', { processes: 'go-on' })
  assert.equal(readFileSync(join(dirOf('half'), 'one/images/inventory.img'), 'utf8'), 'whole')
  await pidOf(at.node, 'half')
  await remove('half')
  assert.deepEqual(onDisk('half'), [])
})

test('a daemon killed between a whole checkpoint and its fact: it is kept, for the processes have ended with it', async () => {
  await killedInCheckpoint('whole', 'whole-unanswered', 'work/stats-dump', {})
  assert.equal(readFileSync(join(dirOf('whole'), 'one/images/inventory.img'), 'utf8'), 'whole-unanswered')
  const { exitCode, reason } = await taskOf(at.node, 'whole') // It is not started again by its policy.
  assert.deepEqual([exitCode, reason], [137, 'checkpoint'])
  await remove('whole')
})

test('of an archive that was altered, or is of another image, nothing is left; the whole one goes on', async () => {
  behave()
  await run('carried')
  const archive = join(own.path, 'carried.tar')
  assert.equal((await at.cli('checkpoint', 'create', '--export', archive, 'carried', 'one')).exitCode, 0)
  const restore = (file: string, image = at.image) =>
    at.cli('restore', '--runtime', 'odd', '--name', 'back', file, image)
  const kept = () => [readdirSync(join(at.node.root, 'containers/default')), readdirSync(join(at.node.root, 'uploads'))]
  assert.equal((await at.cli('commit', 'carried', 'another:1')).exitCode, 0)
  const before = kept()
  const altered = join(own.path, 'altered.tar')
  writeFileSync(altered, readFileSync(archive, 'latin1').replace('whole', 'Whole'), 'latin1')
  assert.match((await restore(altered)).stderr, /images\/inventory\.img was altered/)
  assert.match(
    (await restore(archive, 'another:1')).stderr,
    /is of image sha256:[0-9a-f]+, and container back of sha256/,
  )
  assert.deepEqual(kept(), before)
  assert.equal((await at.node.http('GET', '/v1/snapshots/overlayfs/back')).status, 404)
  assert.deepEqual(await events(at.node, 'task/back'), [])
  assert.equal((await restore(archive)).exitCode, 0)
  const types = (await events(at.node, 'task/back')).map(({ type }) => type)
  assert.deepEqual(types.slice(0, 3), ['task.creating', 'task.created', 'task.started'])
  for (const id of ['back', 'carried']) await remove(id)
  await at.cli('rmi', 'another:1')
})

test('at the end books and host agree', () => checkBooks(at.node))
