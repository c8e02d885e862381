import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import { startCliNode } from '../../support/cli.ts'
import type { TestNode } from '../../support/daemon.ts'
import { checkBooks, events, instant, rounds, tallyOf } from '../../support/faults.ts'

const AT_ONCE = 3
const JOBS = 5

const jobSchema = z.object({
  id: z.string(),
  status: z.string(),
  attempts: z.array(z.object({ steps: z.array(z.object({ status: z.string(), exitCode: z.number().optional() })) })),
  artifacts: z.array(z.object({ path: z.string() })),
})

/** Asks until a daemon has taken it, as a submitter does that dies and asks again. */
async function surely(node: TestNode, path: string, body: object, key: string, signal: AbortSignal) {
  for (;;) {
    signal.throwIfAborted()
    const answer = await node.http('POST', path, body, { 'idempotency-key': key }).catch(() => undefined)
    if (answer?.status === 202) return jobSchema.parse(answer.json)
    if (answer !== undefined && answer.status !== 503) throw new Error(answer.text)
    await delay(20)
  }
}

test('a daemon killed at random instants runs each step of each job once, and keeps what it left', async (t) => {
  await using at = await startCliNode({ config: `[jobs]\natOnce = ${AT_ONCE}` })
  const { node, image } = at
  const tally = await tallyOf(node)
  const mounts = [{ type: 'bind', source: tally.dir, target: '/tally' }]
  for (const round of rounds(1)) {
    const patience = AbortSignal.timeout(90_000)
    const ids = Array.from({ length: JOBS }, (_, index) => `r${round}j${index}`)
    const stepOf = (id: string, n: number, script: string) => ({ run: `echo ran >>/tally/${id}-${n}\n${script}` })
    const asked = ids.map((id, index) =>
      surely(
        node,
        `/v1/jobs?id=${id}`,
        {
          image,
          mounts,
          artifacts: ['out'],
          steps: [
            stepOf(id, 1, 'mkdir out; sleep 0.1'),
            stepOf(id, 2, 'echo two >out/two'),
            stepOf(id, 3, index % 2 === 0 ? 'true' : 'exit 6'),
          ],
        },
        id,
        patience,
      ),
    )
    await node.kill9After(instant(t, `round ${round}: killed`, 900))
    for (let again = randomInt(3); again > 0; again--) {
      node.start()
      await node.kill9After(instant(t, `round ${round}: killed, recovering,`, 1500))
    }
    node.start()
    await node.ready()
    assert.deepEqual(
      (await Promise.all(asked)).map(({ id }) => id),
      ids,
    )
    for (const [index, id] of ids.entries()) {
      const answer = await node.http('GET', `/v1/jobs/${id}`, undefined, { prefer: 'wait=60' })
      const job = jobSchema.parse(answer.json)
      assert.equal(job.status, index % 2 === 0 ? 'succeeded' : 'failed', answer.text)
      assert.deepEqual(
        job.attempts.map(({ steps }) => steps.map(({ exitCode }) => exitCode)),
        [[0, 0, index % 2 === 0 ? 0 : 6]],
        answer.text,
      )
      assert.deepEqual(
        job.artifacts.map(({ path }) => path),
        ['out/two'],
      )
      for (const n of [1, 2, 3]) assert.equal(await tally.count(`${id}-${n}`), 1, `step ${n} of ${id} ran`)
      const life = (await events(node, `job/${id}`)).map(({ type }) => type)
      for (const type of [
        'job.submitted',
        'job.started',
        'job.artifacts-collected',
        index % 2 === 0 ? 'job.succeeded' : 'job.failed',
      ])
        assert.equal(life.filter((each) => each === type).length, 1, `${type} of ${id}`)
      assert.equal(life.filter((each) => each === 'job.step-ended').length, 3)
    }
    assert.equal((await at.cli('ps', '-a', '-q')).stdout, '')
    await checkBooks(node)
  }
})
