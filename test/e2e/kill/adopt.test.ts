import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { startCliNode, watch } from '../../support/cli.ts'
import type { TestNode } from '../../support/daemon.ts'
import {
  checkBooks,
  checkLife,
  collected,
  events,
  eventually,
  instant,
  pidOf,
  rounds,
  submit,
  tallyOf,
  taskOf,
  taskReleased,
} from '../../support/faults.ts'

const UNTIL_GO = 'while [ ! -e /tally/go ]; do sleep 0.02; done'

for (const how of ['SIGKILL', 'SIGTERM'] as const) {
  test(`containers go on after ${how} of the daemon: those that ended are recorded, those that run are adopted`, async () => {
    await using at = await startCliNode()
    const { node, image } = at
    const tally = await tallyOf(node)
    const scripts = {
      ends: `${UNTIL_GO}; echo last words; exit 3`,
      killed: 'sleep 1000',
      reads: 'echo begun; while read line; do echo "got $line"; done; exit 4',
      stops: 'trap "echo stopping; exit 5" TERM; while true; do sleep 0.02; done',
      execs: `${UNTIL_GO}; touch /tally/gone; while true; do sleep 1; done`,
    }
    for (const [id, script] of Object.entries(scripts)) {
      const options = { ...tally.options(id, script), stdin: id === 'reads' }
      const ran = await submit(node, { type: 'container.run', subject: id, payload: { image, options } })
      assert.equal(ran.status, 200, ran.text)
    }
    for (const [execId, seconds] of [
      ['short', '0.3'],
      ['long', '1000'],
    ] as const) {
      const payload = { execId, args: ['sh', '-c', `sleep ${seconds}; exit 9`], output: 'discard' }
      const ran = await submit(node, { type: 'task.exec', subject: 'execs', payload })
      assert.equal(ran.status, 200, ran.text)
    }
    const [ends, killed] = [await pidOf(node, 'ends'), await pidOf(node, 'killed')]
    const before = Date.now()
    if (how === 'SIGKILL') await node.kill9()
    else assert.equal(await node.stop(), 0)
    await writeFile(`${tally.dir}/go`, '')
    process.kill(killed, 'SIGKILL')
    await Promise.all([collected(ends), collected(killed)])
    const collectedAt = Date.now()
    await node.restart()
    // A shim notes the time just after it has collected the process; one that we made up would be of after this.
    const cameBackAt = await firstMessageAfter(node, collectedAt)

    for (const [id, exitCode] of [
      ['ends', 3],
      ['killed', 137],
    ] as const) {
      const task = await eventually(
        () => taskOf(node, id),
        ({ status }) => status === 'stopped',
      )
      await checkLife(node, id, exitCode)
      const exitedAt = Date.parse(task.exitedAt ?? '')
      assert.ok(exitedAt >= before && exitedAt < cameBackAt, `${task.exitedAt} is when it ended`)
    }
    assert.match((await at.cli('logs', 'ends')).stdout, /^last words$/m)

    const attached = node.spawnCli('attach', 'reads')
    const seen = watch(attached)
    attached.stdin.write('one\n')
    await seen.sees((stdout) => stdout.includes('got one'))
    attached.stdin.end('two\n')
    assert.equal((await seen.closed).exitCode, 4)
    assert.equal((await at.cli('logs', 'reads')).stdout, 'begun\ngot one\ngot two\n')

    const stopped = await at.cli('stop', 'stops')
    assert.equal(stopped.exitCode, 0, stopped.stderr)
    await checkLife(node, 'stops', 5)

    assert.equal((await at.cli('exec', 'execs', 'sh', '-c', 'echo again; exit 6')).exitCode, 6)
    const exits = () => events(node, 'task/execs').then((all) => all.filter(({ type }) => type === 'task.exec-exited'))
    await eventually(exits, (found) => found.some(({ data }) => data.execId === 'short' && data.exitCode === 9))
    assert.equal(
      (await submit(node, { type: 'task.kill', subject: 'execs', payload: { signal: 'KILL', execId: 'long' } })).status,
      200,
    )
    await eventually(exits, (found) => found.some(({ data }) => data.execId === 'long' && data.exitCode === 137))
    for (const id of Object.keys(scripts)) assert.equal(await tally.count(id), 1, `${id} ran`)
    await checkBooks(node)
  })
}

test('a daemon killed at random instants while containers end records every exit once', async (t) => {
  await using at = await startCliNode()
  const { node, image } = at
  const tally = await tallyOf(node)
  for (const round of rounds(2)) {
    const wanted = Array.from({ length: 6 }, (_, index) => ({ id: `e${round}x${index}`, exitCode: 20 + index }))
    await Promise.all(
      wanted.map(async ({ id, exitCode }, index) => {
        const options = tally.options(
          id,
          `while [ ! -e /tally/go${round} ]; do sleep 0.02; done; sleep 0.0${index}; exit ${exitCode}`,
        )
        const ran = await submit(node, { type: 'container.run', subject: id, payload: { image, options } })
        assert.equal(ran.status, 200, ran.text)
      }),
    )
    await writeFile(`${tally.dir}/go${round}`, '')
    await node.kill9After(instant(t, `round ${round}: killed`, 150))
    node.start()
    await node.kill9After(instant(t, `round ${round}: killed, recovering,`, 1500))
    await node.restart()
    for (const { id, exitCode } of wanted) {
      await taskReleased(node, id)
      await checkLife(node, id, exitCode)
      assert.equal(await tally.count(id), 1, `${id} ran`)
    }
    await checkBooks(node)
  }
})

/** When the next daemon spoke for the first time: long before it asks any shim. */
async function firstMessageAfter(node: TestNode, ms: number): Promise<number> {
  const times = [...(await node.logs()).matchAll(/"time":"([^"]+)"/g)].map(([, time = '']) => Date.parse(time))
  const first = times.find((time) => time >= ms)
  assert.ok(first !== undefined, 'the daemon has said nothing since')
  return first
}
