import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { type CliNode, LAUNCHER, startCliNode, watch } from '../../support/cli.ts'

const execute = promisify(execFile)

describe('signals', () => {
  let at: CliNode
  before(async () => {
    at = await startCliNode()
  })
  after(() => at[Symbol.asyncDispose]())

  const trapping = (signal: string, exitCode: number) =>
    `trap 'echo got ${signal}; exit ${exitCode}' ${signal}; echo ready; while :; do sleep 0.1; done`

  for (const [signal, exitCode] of [
    ['INT', 3],
    ['TERM', 4],
    ['HUP', 5],
    ['USR1', 6],
  ] as const) {
    test(`SIG${signal} is forwarded to what run waits for`, async () => {
      const child = at.node.spawnCli('run', '--rm', at.image, 'sh', '-c', trapping(signal, exitCode))
      const seen = watch(child)
      await seen.sees((stdout) => stdout.includes('ready'))
      child.kill(`SIG${signal}`)
      const ended = await seen.closed
      assert.equal(ended.stdout, `ready\ngot ${signal}\n`)
      assert.equal(ended.exitCode, exitCode)
    })
  }

  test('SIGTERM is forwarded to what exec waits for, not to the container', async () => {
    await at.cli('run', '-d', '--name', 'host', at.image, 'sleep', '1000')
    const child = at.node.spawnCli('exec', 'host', 'sh', '-c', trapping('TERM', 8))
    const seen = watch(child)
    await seen.sees((stdout) => stdout.includes('ready'))
    child.kill('SIGTERM')
    assert.equal((await seen.closed).exitCode, 8)
    assert.match((await at.cli('ps')).stdout, /^host /m)
    await at.cli('rm', '-f', 'host')
  })

  test('the second SIGINT kills, and a CLI that is killed leaves the container alone', async () => {
    const deaf = ['sh', '-c', 'trap "" INT; echo ready; while :; do sleep 0.1; done']
    const child = at.node.spawnCli('run', '--rm', at.image, ...deaf)
    const seen = watch(child)
    await seen.sees((stdout) => stdout.includes('ready'))
    child.kill('SIGINT')
    const kills = ['events', '--filter', 'type=task.killed', '--format', 'ndjson']
    while ((await at.cli(...kills)).stdout === '') if (child.exitCode !== null) assert.fail('it ended')
    child.kill('SIGINT')
    assert.equal((await seen.closed).exitCode, 137)

    const left = at.node.spawnCli('run', '--name', 'left', at.image, ...deaf)
    const leftSeen = watch(left)
    await leftSeen.sees((stdout) => stdout.includes('ready'))
    left.kill('SIGKILL')
    await leftSeen.closed
    assert.match((await at.cli('ps')).stdout, /^left .*Up/m)
    await at.cli('rm', '-f', 'left')
  })

  test('SIGINT while the image is pulled cancels the command', async () => {
    // Nobody answers at this address: TEST-NET-1 of RFC 5737.
    for (const args of [
      ['pull', '192.0.2.1/x'],
      ['run', '192.0.2.1/x'],
    ]) {
      const child = at.node.spawnCli(...args)
      const seen = watch(child)
      const active = async () =>
        JSON.parse((await at.cli('command', 'ls', '--status', 'active', '--format', 'json')).stdout)
      while (
        !(await active()).some(
          ({ type, status }: { type: string; status: string }) => type === 'image.pull' && status === 'running',
        )
      ) {
        if (child.exitCode !== null) assert.fail('it ended')
      }
      child.kill('SIGINT')
      const ended = await seen.closed
      assert.equal(ended.exitCode, 130, ended.stderr)
      assert.deepEqual(await active(), [])
    }
  })

  test('run goes on over a kill of the daemon: no output is lost or doubled, and the exit code is the right one', async () => {
    const code = 'for i in $(seq 40); do echo out$i; echo err$i >&2; sleep 0.1; done; exit 6'
    const child = at.node.spawnCli('run', '--rm', at.image, 'sh', '-c', code)
    const seen = watch(child)
    await seen.sees((stdout) => stdout.includes('out5\n'))
    await at.node.kill9()
    await at.node.restart()
    const { exitCode, stdout, stderr } = await seen.closed
    const lines = (word: string) => Array.from({ length: 40 }, (_, at) => `${word}${at + 1}\n`).join('')
    assert.deepEqual({ exitCode, stdout, stderr }, { exitCode: 6, stdout: lines('out'), stderr: lines('err') })
  })

  test('a reader that is slow gets all', async () => {
    const script = 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo $i; done'
    assert.equal((await at.cli('run', '--name', 'many', at.image, 'sh', '-c', script)).exitCode, 0)
    const purser = [LAUNCHER, '--address', at.node.socketPath, 'logs', 'many']
    const reader = await execute('sh', ['-c', '"$@" | { sleep 1; wc -l; }', 'sh', ...purser])
    assert.equal(reader.stdout.trim(), '20000')
    await at.cli('rm', 'many')
  })

  test('a pipe that is closed early ends a listing quietly', async () => {
    const child = at.node.spawnCli('events')
    const seen = watch(child)
    child.stdout?.destroy()
    const ended = await seen.closed
    assert.equal(ended.stderr, '')
    assert.equal(ended.exitCode, 0)
  })
})
