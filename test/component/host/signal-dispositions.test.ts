import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'
import { test } from 'node:test'
import { isHeard } from '../../../src/host/signal-dispositions.ts'

const { SIGUSR1, SIGUSR2, SIGHUP, SIGKILL, SIGTERM } = constants.signals

test('a signal is heard by who catches it, not by who ignores it or leaves it to the kernel', async () => {
  const child = spawn('sh', ['-c', 'trap : USR1; trap "" HUP; echo ready; read _'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const [pid, ended] = [child.pid ?? 0, once(child, 'exit')]
  await once(child.stdout, 'data')
  assert.deepEqual(
    [SIGUSR1, SIGUSR2, SIGHUP, SIGKILL, SIGTERM].map((signal) => isHeard(signal, [pid])),
    [true, false, false, false, false],
  )
  assert.ok(isHeard(SIGTERM, 'unknown'))
  assert.ok(!isHeard(SIGKILL, 'unknown'))
  child.stdin.end()
  await ended
  assert.ok(!isHeard(SIGUSR1, [pid]))
})
