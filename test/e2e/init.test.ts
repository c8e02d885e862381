import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startCliNode } from '../support/cli.ts'

test('with an init the program is its child: signals are forwarded, orphans reaped', async () => {
  await using at = await startCliNode()
  const script = 'echo $$; cat /proc/1/comm; (sleep 0.1 &); sleep 0.4; grep -ls "State:.Z" /proc/[0-9]*/status; exit 4'
  const ran = await at.cli('run', '--rm', '--init', at.image, 'sh', '-c', script)
  assert.equal(ran.exitCode, 4, ran.stderr)
  const [pid, first, ...zombies] = ran.stdout.trim().split('\n')
  assert.notEqual(pid, '1')
  assert.match(first ?? '', /docker-init|tini/)
  assert.deepEqual(zombies, [])
  // As the first process sleep would not hear it.
  await at.cli('run', '-d', '--name', 'c1', '--init', '--read-only', at.image, 'sleep', '100')
  const begun = Date.now()
  assert.equal((await at.cli('stop', 'c1')).exitCode, 0)
  assert.ok(Date.now() - begun < 5000)
  assert.equal((await at.cli('wait', 'c1')).stdout.trim(), '143')
})
