import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { test } from 'node:test'
import { startCliNode } from '../../support/cli.ts'
import { checkBooks, events, instant, rounds, submitSurely, succeeded } from '../../support/faults.ts'

test('a daemon killed at random instants brings sandboxes and what is in them to their end, each step once', async (t) => {
  await using at = await startCliNode()
  const { node, image } = at
  const within = AbortSignal.timeout(120_000)
  for (const round of rounds(1)) {
    const pod = `pod${round}`
    const container = `c${round}`
    const payload = { image, sandbox: pod, options: { args: ['sleep', '1000'] } }
    const steps = [
      [
        { type: 'sandbox.create', subject: pod },
        { type: 'sandbox.start', subject: pod },
      ],
      [{ type: 'container.run', subject: container, payload }],
      [
        { type: 'sandbox.stop', subject: pod, payload: { graceMs: 0 } },
        { type: 'sandbox.delete', subject: pod, payload: { inUse: 'remove' } },
      ],
    ]
    for (const requests of steps) {
      const commands: string[] = []
      for (const request of requests) commands.push(await submitSurely(node, request, within))
      await node.kill9After(instant(t, `round ${round}: killed in ${requests[0]?.type}`, 300))
      await node.restart()
      for (const command of commands) await succeeded(node, command)
    }
    const types = (await events(node, `sandbox/${pod}`)).map(({ type }) => type.slice('sandbox.'.length))
    const once = ['creating', 'created', 'starting', 'started', 'stopping', 'exited', 'released', 'deleting', 'deleted']
    assert.deepEqual(types, once)
    assert.deepEqual(await readdir(`${node.state}/sandboxes/default`), [])
  }
  await checkBooks(node)
})
