import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { LAUNCHER } from '../../support/cli.ts'
import { startNode } from '../../support/daemon.ts'

const ROUNDS = 15

/** Milliseconds of the fastest of several runs: what others do on this machine only makes it slower. */
function fastest(command: string, args: readonly string[], env: NodeJS.ProcessEnv): number {
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < ROUNDS; round++) {
    const begunAt = performance.now()
    const ran = spawnSync(command, args, { env, encoding: 'utf8' })
    best = Math.min(best, performance.now() - begunAt)
    assert.equal(ran.status, 0, ran.stderr)
  }
  return best
}

test('purser version takes three times as long as Node alone at most', async (t) => {
  await using node = await startNode()
  const { NODE_COMPILE_CACHE: _, ...env } = process.env // The launcher chooses its own.
  const bareMs = fastest(process.execPath, ['-e', '0'], env)
  const versionMs = fastest(LAUNCHER, ['--address', node.socketPath, 'version'], env)
  t.diagnostic(`node -e 0: ${bareMs.toFixed(1)} ms, purser version: ${versionMs.toFixed(1)} ms`)
  assert.ok(versionMs <= 3 * bareMs, `${versionMs.toFixed(1)} ms against ${bareMs.toFixed(1)} ms`)
})
