import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { mount, umount } from '../../../src/host/syscalls.ts'
import { type CliNode, startCliNode } from '../../support/cli.ts'
import {
  checkBooks,
  ended,
  events,
  eventually,
  gone,
  pidOf,
  rounds,
  submit,
  submitSurely,
  taskOf,
} from '../../support/faults.ts'
import { makeOddShim } from '../../support/odd-shim.ts'
import { temporaryDirectory } from '../../support/trees.ts'

const own = temporaryDirectory()

/** runc, but that its `create` is killed in the middle: after so many seconds as the file `after` says. */
const CUT_SHORT = [
  '#!/bin/sh',
  'case " $* " in *" create "*)',
  '  runc "$@" & pid=$!',
  `  sleep "$(cat ${own.path}/after)"`,
  '  kill -9 $pid',
  '  exit 137',
  'esac',
  'exec runc "$@"',
]

let at: CliNode
before(async () => {
  const binary = join(own.path, 'runc')
  await writeFile(binary, `${CUT_SHORT.join('\n')}\n`, { mode: 0o755 })
  at = await startCliNode({ config: `[workers]\nspareShims = 0\n[runtime.cut]\nbinary = ${JSON.stringify(binary)}` })
})
after(async () => {
  await checkBooks(at.node)
  await at[Symbol.asyncDispose]()
  own[Symbol.dispose]()
})

const request = (subject: string, more: object = {}) => ({
  type: 'container.run',
  subject,
  payload: { image: at.image, options: { args: ['sh', '-c', 'exit 7'] }, ...more },
})

const namesIn = (dir: string): Promise<string[]> => readdir(dir).catch((): string[] => [])

test('a runtime that is killed while it creates fails the command; nothing of it stays, and the name is free', async (t) => {
  for (const round of rounds(4)) {
    const id = `killed${round}`
    const afterMs = randomInt(40)
    t.diagnostic(`killed after ${afterMs} ms`)
    await writeFile(join(own.path, 'after'), `0.${String(afterMs).padStart(3, '0')}`)
    const ran = await submit(at.node, request(id, { runtime: 'cut' }))
    assert.equal(ran.status, 500, ran.text)
    assert.match(ran.text, /runc did not terminate successfully/)
    assert.equal((await at.node.http('GET', `/v1/containers/${id}`)).status, 404)
    assert.ok(!(await readdir(join(at.node.state, 'tasks/default'))).includes(id))
    assert.ok(!(await namesIn(join(at.node.state, 'runc/default'))).includes(id))
    const again = await submit(at.node, request(id, { runtime: 'runc' }))
    assert.equal(again.status, 200, again.text)
  }
})

test('a container whose root file system is deleted underneath can be stopped and removed', async () => {
  const ran = await at.cli(
    'run',
    '-d',
    '--name',
    'bare',
    at.image,
    'sh',
    '-c',
    'echo out; while true; do sleep 0.1; done',
  )
  assert.equal(ran.exitCode, 0, ran.stderr)
  const pid = await pidOf(at.node, 'bare')
  const { json } = await at.node.http('GET', '/v1/snapshots/overlayfs/bare')
  const dir = join(at.node.root, 'snapshotters/overlayfs/snapshots', String((json as Record<string, unknown>).dir))
  await rm(dir, { recursive: true })
  const executed = await at.cli('exec', 'bare', 'true')
  assert.ok(executed.exitCode >= 0)
  const stopped = await at.cli('stop', '-t', '0', 'bare')
  assert.equal(stopped.exitCode, 0, stopped.stderr)
  await gone(pid)
  const removed = await at.cli('rm', 'bare')
  assert.equal(removed.exitCode, 0, removed.stderr)
  assert.equal((await at.node.http('GET', '/v1/snapshots/overlayfs/bare')).status, 404)
})

test('a disk that is full while a container is created fails it with the reason; nothing of it stays', async () => {
  const tasks = join(at.node.state, 'tasks')
  await mkdir(tasks, { recursive: true, mode: 0o711 })
  mount('tmpfs', tasks, 'tmpfs', 0, 'size=16k')
  try {
    const ran = await submit(at.node, request('full', { runtime: 'runc' }))
    assert.equal(ran.status, 507, ran.text)
    assert.match(ran.text, /no space left on device/)
    assert.equal((await at.node.http('GET', '/v1/containers/full')).status, 404)
    assert.deepEqual(await namesIn(join(tasks, 'default')), [])
  } finally {
    umount(tasks)
  }
  const again = await submit(at.node, request('full'))
  assert.equal(again.status, 200, again.text)
})

test('a caller that gave up and asks again gets what it asked for; the name is refused to others alone', async () => {
  const slow = makeOddShim(own.path, { faults: { Create: { delayMs: 1500 } } })
  const post = (body: object, key: string, prefer: string) =>
    at.node.http('POST', '/v1/commands', body, { 'idempotency-key': key, prefer })
  // It waits no longer than a second, and asks again with its key.
  const wanted = request('mine', { runtime: slow.path })
  const first = await post(wanted, 'mine-1', 'wait=1')
  assert.equal(first.status, 202, first.text)
  const [second, third] = await Promise.all([post(wanted, 'mine-1', 'wait=30'), post(wanted, 'mine-1', 'wait=30')])
  assert.deepEqual([second.status, third.status], [200, 200], second.text)
  const ids = [first, second, third].map(({ json }) => (json as { id: string }).id)
  assert.equal(new Set(ids).size, 1)
  assert.equal((await events(at.node, 'task/mine')).filter(({ type }) => type === 'task.created').length, 1)
  const other = await post(wanted, 'another', 'wait=30')
  assert.equal(other.status, 409, other.text)
  assert.match(other.text, /container mine exists/)

  // Its deadline passes, and it asks anew at once: what was begun is undone first, and does not stand in its way.
  const deadline = new Date(Date.now() + 1000).toISOString()
  const late = await post({ ...request('late', { runtime: slow.path }), deadline }, 'late-1', 'respond-async')
  const failed = await ended(at.node, (late.json as { id: string }).id)
  assert.deepEqual([failed.status, failed.error?.code], ['failed', 'deadline_exceeded'], JSON.stringify(failed))
  await Promise.all(
    ['late-2', 'late-2'].map(async (key) => {
      const ran = await post(request('late'), key, 'wait=30')
      assert.equal(ran.status, 200, ran.text)
    }),
  )
  // Cancelled while it is under way, and asked for anew.
  const cancelled = await post(request('gone', { runtime: slow.path }), 'gone-1', 'respond-async')
  const cancelledId = (cancelled.json as { id: string }).id
  await at.node.http('DELETE', `/v1/commands/${cancelledId}`)
  const surely = await submitSurely(at.node, request('gone'), AbortSignal.timeout(30_000))
  assert.equal((await ended(at.node, cancelledId)).status, 'cancelled')
  assert.equal((await ended(at.node, surely)).status, 'succeeded')
  const task = await eventually(
    () => taskOf(at.node, 'gone'),
    ({ status }) => status === 'stopped',
  )
  assert.equal(task.exitCode, 7)
})
