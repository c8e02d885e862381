import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type CliNode, startCliNode } from '../support/cli.ts'
import { criuConfig, findCriu } from '../support/criu.ts'
import { activeCommands, checkBooks, eventually, instant, submit } from '../support/faults.ts'

const criu = findCriu()

/** Counts in its memory, and writes to a file that stays open: neither would go on by itself. */
const COUNTER = 'exec 3>>/counted; i=0; while [ ! -e /end ]; do i=$((i+1)); echo $i >&3; sleep 0.05; done; exit 7'

describe('a checkpoint', { skip: 'skip' in criu && criu.skip }, () => {
  let at: CliNode
  before(async () => {
    at = await startCliNode({ config: criuConfig('path' in criu ? criu.path : '') })
  })
  after(() => at[Symbol.asyncDispose]())

  const ok = (...args: string[]) => at.ok(...args)
  const refused = (...args: string[]) => at.refused(...args)
  const counter = (name: string, ...options: string[]) =>
    ok('run', '-d', '--runtime', 'runc', '--name', name, ...options, at.image, 'sh', '-c', COUNTER)
  const counted = async (name: string) => (await ok('exec', name, 'cat', '/counted')).split('\n').map(Number)
  const counts = (name: string, least: number) =>
    eventually(
      () => counted(name),
      (lines) => lines.length >= least,
    )

  test('processes go on from where they were, with their files open, and end as they would have', async () => {
    assert.match(await ok('runtime', 'check', 'runc'), /^checkpoints +work, by .*criu \d/m)
    await counter('goes-on', '--init')
    await counts('goes-on', 5)
    await ok('checkpoint', 'create', 'goes-on', 'one')
    const [{ status, task, checkpoints }] = JSON.parse(await ok('inspect', 'goes-on'))
    assert.deepEqual([status, task.reason, Object.keys(checkpoints)], ['exited', 'checkpoint', ['one']])
    await ok('start', '--checkpoint', 'one', 'goes-on')
    const lines = await counts('goes-on', 15)
    assert.match(await ok('exec', 'goes-on', 'busybox', 'ip', 'link'), /lo: <LOOPBACK,UP/)
    assert.deepEqual(
      lines,
      lines.map((_, index) => index + 1),
    )
    await ok('exec', 'goes-on', 'touch', '/end')
    assert.equal(await ok('wait', 'goes-on'), '7')
    await ok('checkpoint', 'rm', 'goes-on', 'one')
    assert.match(await refused('start', '--checkpoint', 'one', 'goes-on'), /has no checkpoint one/)
    await ok('rm', 'goes-on')
    assert.deepEqual(readdirSync(join(at.node.root, 'containers/default')), [])
  })

  test('what is left running goes on; connections are in it where that is asked for, and go on with it', async () => {
    const sender = 'while sleep 0.05; do i=$((i+1)); echo $i; done | busybox nc 127.0.0.1 7000'
    const script = `sleep 1000 | busybox nc -l -p 7000 > /counted & sleep 0.2; ${sender}`
    await ok('network', 'create', 'talking')
    await ok('run', '-d', '--runtime', 'runc', '--name', 'talks', '--network', 'talking', at.image, 'sh', '-c', script)
    await counts('talks', 3)
    const why = await refused('checkpoint', 'create', '--leave-running', 'talks', 'one')
    assert.match(why, /CRIU says: .*TCP socket.*; make it with --tcp-established/)
    await ok('checkpoint', 'create', '--leave-running', '--tcp-established', 'talks', 'one')
    const { length } = await counted('talks')
    await counts('talks', length + 3)
    await ok('checkpoint', 'create', '--tcp-established', 'talks', 'two')
    await ok('start', '--checkpoint', 'two', 'talks')
    const lines = await counts('talks', length + 10)
    assert.deepEqual(
      lines,
      lines.map((_, index) => index + 1),
    )
    await ok('rm', '-f', 'talks')
    await ok('network', 'rm', 'talking')
  })

  test('an archive goes on on another node that trusts this one, from the same count, with its files', async () => {
    await counter('carried', '--label', 'from=here')
    await counts('carried', 5)
    const archive = join(at.node.dir, 'carried.tar')
    await ok('checkpoint', 'create', '--export', archive, 'carried', 'one')
    await using other = await startCliNode({ config: criuConfig('path' in criu ? criu.path : '') })
    const restore = () =>
      other.cli('restore', '--runtime', 'runc', '--name', 'elsewhere', '--label', 'to=there', archive, other.image)
    const refusal = await restore()
    assert.match(refusal.stderr, /signed by purser\/nodes\/.*no key that is trusted here/)
    assert.equal((await other.cli('ps', '-aq')).stdout, '')
    assert.deepEqual(readdirSync(join(other.node.root, 'containers/default')), [])
    const key = await ok('log', 'key')
    await other.node.configure(
      `${criuConfig('path' in criu ? criu.path : '')}[checkpoints]\ntrustedKeys = ["${key}"]\n`,
    )
    await other.node.restart()
    const restored = await restore()
    assert.equal(restored.exitCode, 0, restored.stderr)
    const countedThere = async () =>
      (await other.cli('exec', 'elsewhere', 'cat', '/counted')).stdout.trim().split('\n').map(Number)
    const lines = await eventually(countedThere, ({ length }) => length >= 12)
    assert.deepEqual(
      lines,
      lines.map((_, index) => index + 1),
    )
    const [{ labels }] = JSON.parse((await other.cli('inspect', 'elsewhere')).stdout)
    assert.deepEqual(labels, { to: 'there' })
    assert.match((await other.cli('restore', '--runtime', 'crun', archive, other.image)).stderr, /built without CRIU/)
    await other.cli('rm', '-f', 'elsewhere')
    await ok('rm', 'carried')
  })

  test('a daemon killed while a checkpoint is made, or gone on from, has one outcome for each', async (t) => {
    const idle = () =>
      eventually(
        () => activeCommands(at.node),
        (active) => active.length === 0,
      )
    await counter('killed')
    for (const round of [1, 2]) {
      await counts('killed', 5 * round)
      const name = `c${round}`
      const payload = { name, processes: 'end' }
      await submit(at.node, { type: 'task.checkpoint', subject: 'killed', payload }, 'respond-async')
      await at.node.kill9After(instant(t, 'checkpoint: killed', 300))
      await at.node.restart()
      await idle()
      const [{ task, checkpoints }] = JSON.parse(await ok('inspect', 'killed'))
      assert.deepEqual([task.status, task.reason], ['stopped', 'checkpoint'])
      assert.ok(name in checkpoints)
      await submit(
        at.node,
        { type: 'container.start', subject: 'killed', payload: { checkpoint: name } },
        'respond-async',
      )
      await at.node.kill9After(instant(t, 'start: killed', 300))
      await at.node.restart()
      await idle()
      // Where it is not known whether it went on, it has been ended.
      const [{ status: now }] = JSON.parse(await ok('inspect', 'killed'))
      if (now !== 'running') await ok('start', '--checkpoint', name, 'killed')
    }
    await checkBooks(at.node)
    await ok('rm', '-f', 'killed')
  })
})
