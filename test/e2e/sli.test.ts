import assert from 'node:assert/strict'
import { test } from 'node:test'
import { z } from 'zod'
import { startCliNode } from '../support/cli.ts'

test('indicators cover the node, or a namespace that is named; the past as well; maintenance is announced', {}, async () => {
  await using at = await startCliNode()
  const { node, image } = at
  assert.equal((await node.cli('run', '--rm', image, 'sh', '-c', 'exit 3')).exitCode, 3)
  const before = (await node.cli('run', '--rm', image, 'true')).exitCode
  assert.equal(before, 0)
  const report = async (...options: string[]) => {
    const { stdout, stderr } = await node.cli('sli', '--format', 'json', ...options)
    const parsed = z.looseObject({ items: z.array(z.looseObject({ name: z.string(), actual: z.number().nullable() })) })
    return new Map(parsed.parse(JSON.parse(stdout || stderr)).items.map((item) => [item.name, item]))
  }
  const now = await report()
  assert.equal(now.size, 14)
  assert.equal(now.get('container_start_success')?.actual, 1)
  assert.equal(now.get('crashes')?.actual, 0.5)
  assert.equal((await report('-n', 'elsewhere')).get('crashes')?.actual, null)
  assert.equal((await report('--at', '2h')).get('crashes')?.actual, null)
  assert.match((await node.cli('sli', '--window', 'long')).stderr, /window: "long" is no duration/)

  const lag = await node.cli('projection', 'lag', 'sli', '--max', '1000000')
  assert.deepEqual(
    [lag.exitCode, lag.stdout.split(/\s+/).slice(0, 7)],
    [0, ['NAME', 'STATUS', 'CHECKPOINT', 'HEAD', 'LAG', 'sli', 'running']],
  )
  assert.match((await node.cli('projection', 'lag', 'slo')).stderr, /no projection "slo"; known are audit, sli/)

  const maintenance = async () => /^purser_maintenance (\d)$/m.exec((await node.http('GET', '/metrics')).text)?.[1]
  assert.equal(await maintenance(), '0')
  assert.match((await node.cli('maintenance', 'start', 'a new kernel', '--for', '1h')).stdout, /silent until 2/)
  assert.equal(await maintenance(), '1')
  assert.equal((await node.cli('maintenance', 'stop')).exitCode, 0)
  assert.equal(await maintenance(), '0')
  assert.match((await node.cli('maintenance', 'stop')).stderr, /no maintenance/)
  assert.match((await node.cli('maintenance', 'start', 'x', '--for', 'ever')).stderr, /"ever" is no duration/)
})
