import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startCliNode, watch } from '../../support/cli.ts'
import { instant } from '../../support/faults.ts'

/** Until there is a file. */
const counting = (file: string, exitCode: number) =>
  `i=0; while [ ! -e ${file} ]; do i=$((i+1)); echo $i; sleep 0.005; done; exit ${exitCode}`

const numbersOf = (text: string): number[] => text.split('\n').filter(Boolean).map(Number)

/** Those that do not follow the one before. */
const gapsOf = (numbers: readonly number[]): number[] =>
  numbers.filter((number, index) => index > 0 && number !== (numbers[index - 1] ?? 0) + 1)

test('who is attached, execs or follows goes on when the daemon is killed or restarted; of a log no line is missed', async (t) => {
  await using at = await startCliNode()
  const { node, cli, image } = at
  assert.equal((await cli('run', '-d', '--name', 'c1', image, 'sh', '-c', counting('/end', 7))).exitCode, 0)
  const begin = (...args: string[]) => watch(node.spawnCli(...args))
  const run = begin('run', '--name', 'c2', image, 'sh', '-c', counting('/end', 5))
  const logs = begin('logs', '-f', '--tail', '3', 'c1')
  const attach = begin('attach', 'c1')
  const exec = begin('exec', 'c1', 'sh', '-c', counting('/end-exec', 8))
  for (const end of [() => node.kill9After(instant(t, 'killed', 300)), () => node.stop()]) {
    for (const each of [run, logs, attach, exec]) {
      const { length } = each.stdout()
      await each.sees((stdout) => stdout.length > length)
    }
    await end()
    node.start()
    await node.ready()
  }
  await cli('exec', 'c1', 'touch', '/end-exec')
  await exec.closed // Its container's end would kill it.
  for (const id of ['c1', 'c2']) await cli('exec', id, 'touch', '/end') // Which the container's end may overtake.
  const ended = await Promise.all([run, logs, attach, exec].map(({ closed }) => closed))
  assert.deepEqual(
    ended.map(({ exitCode, stderr }) => ({ exitCode, stderr })),
    [5, 0, 7, 8].map((exitCode) => ({ exitCode, stderr: '' })),
  )
  const written = numbersOf((await cli('logs', 'c1')).stdout)
  assert.equal(written[0], 1)
  assert.deepEqual(gapsOf(written), [])
  const [ran = [], followed = [], attached = [], execed = []] = ended.map(({ stdout }) => numbersOf(stdout))
  assert.equal(ran[0], 1)
  for (const numbers of [ran, followed, attached]) assert.deepEqual(gapsOf(numbers), [])
  for (const numbers of [followed, attached]) assert.equal(numbers.at(-1), written.at(-1))
  // An exec has no log: what the daemon had and had not handed on may be missing, and nothing comes twice.
  assert.ok(execed.every((number, index) => index === 0 || number > (execed[index - 1] ?? 0)))
})
