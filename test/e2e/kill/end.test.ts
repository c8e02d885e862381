import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { startCliNode } from '../../support/cli.ts'
import {
  checkBooks,
  checkLife,
  ended,
  events,
  eventually,
  gone,
  instant,
  pidOf,
  rounds,
  submit,
  submitSurely,
  succeeded,
  tallyOf,
  taskOf,
} from '../../support/faults.ts'

const TICK = 'while true; do sleep 0.02; done'

test('a daemon killed at random instants while it stops, removes, signals and execs does each of it once', async (t) => {
  await using at = await startCliNode()
  const { node, image } = at
  const tally = await tallyOf(node)
  for (const round of rounds(3)) {
    const id = (name: string) => `${name}${round}`
    const scripts = {
      [id('stop')]: `trap "echo asked >>/tally/${id('asked')}; exit 5" TERM; ${TICK}`,
      [id('remove')]: TICK,
      [id('signal')]: `trap "echo heard >>/tally/${id('heard')}" USR1; ${TICK}`,
      [id('exec')]: TICK,
    }
    for (const [subject, script] of Object.entries(scripts)) {
      const payload = { image, options: tally.options(subject, script) }
      const ran = await submit(node, { type: 'container.run', subject, payload })
      assert.equal(ran.status, 200, ran.text)
    }
    const removed = await pidOf(node, id('remove'))
    // A shell that has no trap yet dies of the signal.
    for (const name of ['stop', 'signal']) {
      await eventually(
        () => tally.count(id(name)),
        (count) => count === 1,
      )
    }

    const patience = AbortSignal.timeout(60_000)
    const execId = id('process')
    const args = ['sh', '-c', `echo ran >>/tally/${execId}; exit 8`]
    const ask = (type: string, subject: string, payload: Record<string, unknown> = {}) =>
      submitSurely(node, { type, subject, payload }, patience)
    const asked = Promise.all([
      ask('container.stop', id('stop')),
      ask('container.remove', id('remove'), { running: 'kill' }),
      ask('task.exec', id('exec'), { execId, args, output: 'discard' }),
      ask('task.kill', id('signal'), { signal: 'USR1' }),
    ])
    await node.kill9After(instant(t, `round ${round}: killed`, 150))
    node.start()
    await node.kill9After(instant(t, `round ${round}: killed, recovering,`, 1500))
    await node.restart()
    const [stop, remove, exec, signal] = await asked

    await succeeded(node, stop)
    await checkLife(node, id('stop'), 5)
    assert.equal(await tally.count(id('asked')), 1, 'asked to stop')

    await succeeded(node, remove)
    await gone(removed)
    assert.equal((await node.http('GET', `/v1/containers/${id('remove')}`)).status, 404)
    assert.equal((await node.http('GET', `/v1/snapshots/overlayfs/${id('remove')}`)).status, 404)
    assert.ok(!(await readdir(join(node.root, 'containers/default'))).includes(id('remove')))
    assert.ok(!(await readdir(join(node.state, 'tasks/default'))).includes(id('remove')))

    // Whether it began cannot always be told when it was cut off: not known is an answer, twice is not.
    const execEnd = await ended(node, exec)
    const ofExec = async () =>
      (await events(node, `task/${id('exec')}`)).filter(({ type, data }) => /exec/.test(type) && data.execId === execId)
    if (execEnd.status === 'succeeded') {
      const life = await eventually(ofExec, (all) => all.at(-1)?.type === 'task.exec-exited')
      assert.deepEqual(
        life.map(({ type }) => type),
        ['task.exec-starting', 'task.exec-started', 'task.exec-exited'],
      )
      assert.equal(life.at(-1)?.data.exitCode, 8)
      assert.equal(await tally.count(execId), 1, 'exec ran')
    } else {
      t.diagnostic(`round ${round}: exec ${execEnd.error?.message}`)
      assert.equal(execEnd.error?.code, 'aborted', JSON.stringify(execEnd))
      assert.equal((await ofExec()).at(-1)?.type, 'task.exec-failed')
    }

    const { status, error } = await ended(node, signal)
    if (status === 'succeeded') {
      await eventually(
        () => tally.count(id('heard')),
        (count) => count === 1,
      )
    } else {
      t.diagnostic(`round ${round}: kill ${error?.message}`)
      assert.equal(error?.code, 'aborted', JSON.stringify(error))
    }
    assert.equal((await taskOf(node, id('signal'))).status, 'running')
    await checkBooks(node)
    const left = await node.cli('rm', '-f', id('stop'), id('signal'), id('exec'))
    assert.equal(left.exitCode, 0, left.stderr)
    assert.ok((await tally.count(id('heard'))) <= 1, 'signalled at most once')
    assert.ok((await tally.count(execId)) <= 1, 'exec ran at most once')
  }
})
