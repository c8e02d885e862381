import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { z } from 'zod'
import { startCliNode } from '../../support/cli.ts'
import type { TestNode } from '../../support/daemon.ts'
import {
  checkBooks,
  checkLife,
  ended,
  eventually,
  instant,
  type Request,
  rounds,
  submit,
  submitSurely,
  tallyOf,
  taskReleased,
} from '../../support/faults.ts'

const TICK = 'while true; do sleep 0.02; done'
const KILLS = 3

test('a daemon killed again and again under a load of run, exec, kill, stop and rm ends every command, and does nothing twice', async (t) => {
  await using at = await startCliNode()
  const { node, image } = at
  const tally = await tallyOf(node)
  for (const round of rounds(1)) {
    const id = (name: string, index: number) => `${name}${round}x${index}`
    const each = [0, 1, 2]
    const standing = ['exec', 'signal', 'stop', 'remove'].flatMap((name) => each.map((index) => id(name, index)))
    await Promise.all(
      standing.map(async (subject) => {
        const script = `trap "echo heard >>/tally/${subject}" USR1; trap "exit 5" TERM; ${TICK}`
        const payload = { image, options: tally.options(subject, script) }
        const ran = await submit(node, { type: 'container.run', subject, payload })
        assert.equal(ran.status, 200, ran.text)
        await eventually(
          () => tally.count(subject),
          (count) => count === 1,
        )
      }),
    )
    const asked: Request[] = each.flatMap((index) => {
      const args = ['sh', '-c', `echo ran >>/tally/${id('process', index)}; exit 8`]
      const options = tally.options(id('run', index), `exit ${index}`)
      return [
        { type: 'container.run', subject: id('run', index), payload: { image, options } },
        {
          type: 'task.exec',
          subject: id('exec', index),
          payload: { execId: id('process', index), args, output: 'discard' },
        },
        { type: 'task.kill', subject: id('signal', index), payload: { signal: 'USR1' } },
        { type: 'container.stop', subject: id('stop', index) },
        { type: 'container.remove', subject: id('remove', index), payload: { running: 'kill' } },
      ]
    })
    const patience = AbortSignal.timeout(90_000)
    const begun = asked.map((request) => submitSurely(node, request, patience))
    await node.kill9After(instant(t, `round ${round}: killed`, 300))
    for (let kill = randomInt(KILLS); kill > 0; kill--) {
      node.start()
      await node.kill9After(instant(t, `round ${round}: killed, recovering,`, 1500))
    }
    node.start()
    await node.ready()
    for (const [at, command] of (await Promise.all(begun)).entries()) {
      const { type, subject, status, error } = await ended(node, command)
      assert.equal(subject, asked[at]?.subject)
      // Whether a signal or an exec that was cut off arrived cannot always be told; everything else is done.
      const mayBeUnknown = type === 'task.kill' || type === 'task.exec'
      if (status !== 'succeeded') assert.ok(mayBeUnknown && error?.code === 'aborted', `${type}: ${error?.message}`)
    }
    for (const index of each) {
      await taskReleased(node, id('run', index))
      await checkLife(node, id('run', index), index)
      await checkLife(node, id('stop', index), 5)
      assert.equal(await tally.count(id('run', index)), 1, 'it ran once')
      assert.ok((await tally.count(id('process', index))) <= 1, 'an exec runs once at most')
      assert.ok((await tally.count(id('signal', index))) <= 2, 'signalled once at most')
      assert.equal((await node.http('GET', `/v1/containers/${id('remove', index)}`)).status, 404)
    }
    await checkHost(node)
    await checkBooks(node)
    const rest = ['run', 'exec', 'signal', 'stop'].flatMap((name) => each.map((index) => id(name, index)))
    const removed = await node.cli('rm', '-f', ...rest)
    assert.equal(removed.exitCode, 0, removed.stderr)
    assert.deepEqual(await readdir(join(node.state, 'tasks/default')), [])
    assert.deepEqual(await readdir(join(node.root, 'containers/default')), [])
  }
})

/** Log, shims and host agree, and what the log does not know is not there. */
async function checkHost(node: TestNode): Promise<void> {
  const { exitCode, stdout } = await eventually(
    () => node.cli('task', 'doctor'),
    ({ exitCode }) => exitCode === 0,
  )
  assert.equal(exitCode, 0, stdout)
  const { json } = await node.http('GET', '/v1/doctor/tasks')
  const { items } = z.object({ items: z.array(z.object({ id: z.string() })) }).parse(json)
  assert.deepEqual((await readdir(join(node.state, 'tasks/default'))).sort(), items.map(({ id }) => id).sort())
}
