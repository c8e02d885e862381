import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { startCliNode } from '../../support/cli.ts'
import { eventually } from '../../support/faults.ts'

test('a container goes on writing, and its log with it, while no daemon is there; nothing is lost or doubled', async (t) => {
  await using at = await startCliNode({ config: '[logs]\nwhileAway = "keep"\n' })
  const { node, cli, image } = at
  // More than a pipe holds, while the daemon is away.
  const script =
    'i=0; while [ ! -e /end ]; do i=$((i+1)); echo $i; printf "%01000d\\n" 0; [ $((i % 100)) != 0 ] || sleep 0.02; done'
  assert.equal((await cli('run', '-d', '--name', 'c1', image, 'sh', '-c', script)).exitCode, 0)
  const keeper = () =>
    readdirSync('/proc')
      .map(Number)
      .find((pid) => {
        try {
          return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`keeper-process.ts\0${node.state}/`)
        } catch {
          return false
        }
      })
  // Killed before that, the daemon leaves what is written to the pipe, for the next one.
  await eventually(node.logs, (text) => text.includes('"logs are kept also while no daemon is there"'))
  const resident = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${keeper()}/status`, 'utf8'))?.[1]
  t.diagnostic(`it holds ${Math.round(Number(resident) / 1024)} MiB`)
  const size = () =>
    readdirSync(`${node.root}/containers/default/c1`)
      .filter((name) => /^log(\.\d+)?$/.test(name))
      .reduce((sum, name) => sum + readFileSync(`${node.root}/containers/default/c1/${name}`).length, 0)
  await node.kill9()
  const before = size()
  await eventually(
    async () => size(),
    (bytes) => bytes >= before + 2 * 1024 * 1024,
  )
  await node.restart()
  await cli('exec', 'c1', 'touch', '/end') // Which the container's end may overtake.
  assert.equal((await cli('wait', 'c1')).stdout, '0\n')
  const lines = (await cli('logs', 'c1')).stdout.split('\n').filter((line) => /^[1-9]\d*$/.test(line))
  assert.deepEqual(
    lines.filter((line, index) => Number(line) !== index + 1),
    [],
  )
  const was = keeper()
  assert.equal((await cli('rm', 'c1')).exitCode, 0)
  assert.equal(await node.stop(), 0)
  // With nothing left to keep it ends.
  await eventually(
    async () => keeper(),
    (pid) => pid === undefined || pid !== was,
  )
})
