import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { test } from 'node:test'
import { startCliNode } from '../../support/cli.ts'
import {
  checkBooks,
  checkLife,
  instant,
  rounds,
  submitSurely,
  succeeded,
  tallyOf,
  taskReleased,
} from '../../support/faults.ts'

const AT_ONCE = 4

test('a daemon killed at random instants while containers are asked for runs each of them once', async (t) => {
  await using at = await startCliNode()
  const { node, image } = at
  const tally = await tallyOf(node)
  for (const round of rounds(3)) {
    const wanted = Array.from({ length: AT_ONCE }, (_, index) => ({
      id: `c${round}x${index}`,
      exitCode: ((10 * round) % 240) + index,
    }))
    const patience = AbortSignal.timeout(60_000)
    const asked = wanted.map(({ id, exitCode }) =>
      submitSurely(
        node,
        {
          type: 'container.run',
          subject: id,
          payload: { image, options: tally.options(id, `exit ${exitCode}`) },
        },
        patience,
      ),
    )
    await node.kill9After(instant(t, `round ${round}: killed`, 500))
    for (let again = randomInt(3); again > 0; again--) {
      node.start()
      await node.kill9After(instant(t, `round ${round}: killed, recovering,`, 1500))
    }
    node.start()
    await node.ready()
    for (const command of await Promise.all(asked)) await succeeded(node, command)
    for (const { id, exitCode } of wanted) {
      assert.equal((await node.cli('wait', id)).stdout.trim(), String(exitCode))
      await taskReleased(node, id)
      await checkLife(node, id, exitCode)
      assert.equal(await tally.count(id), 1, `${id} ran`)
    }
    await checkBooks(node)
  }
})
