import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { startCliNode } from '../../support/cli.ts'
import {
  checkBooks,
  ended,
  events,
  eventually,
  type Request,
  submit,
  submitSurely,
  taskOf,
} from '../../support/faults.ts'
import { temporaryDirectory } from '../../support/trees.ts'

/** runc, which while `held` is there does not come back from these, nor begins them for a container that is called `never-…`. */
const hanging = (dir: string): string => `#!/bin/sh
case " $* " in *" pause "*|*" resume "*|*" exec "*|*" kill "*) ;; *) exec runc "$@";; esac
[ -e ${dir}/held ] || exec runc "$@"
for each in "$@"; do case $each in late-*|never-*) id=$each;; esac; done
case $id in late-*) runc "$@";; esac
touch "${dir}/$id"
exec sleep 1000
`

test('what a killed daemon cut off within the runtime is done once, or said not to be known', async () => {
  using own = temporaryDirectory()
  const binary = join(own.path, 'runc')
  await writeFile(binary, hanging(own.path), { mode: 0o755 })
  await using at = await startCliNode({
    config: `[workers]\nspareShims = 0\n[runtime.hanging]\nbinary = ${JSON.stringify(binary)}`,
  })
  const { node, image, cli } = at
  const exec = { execId: 'e1', args: ['sh', '-c', 'echo ran >>/ran; exec sleep 1000'], output: 'discard' }
  const cases: Request[] = [
    { subject: 'late-pause', type: 'task.pause' },
    { subject: 'late-resume', type: 'task.resume' },
    { subject: 'late-exec', type: 'task.exec', payload: exec },
    { subject: 'never-exec', type: 'task.exec', payload: exec },
    { subject: 'late-heard', type: 'task.kill', payload: { signal: 'USR1' } },
    { subject: 'late-unheard', type: 'task.kill', payload: { signal: 'USR2' } },
  ]
  const args = ['sh', '-c', 'trap "echo heard" USR1; echo ready; while :; do sleep 0.02; done']
  const made = cases.map(({ subject }) =>
    submit(node, { type: 'container.run', subject, payload: { image, options: { args }, runtime: 'hanging' } }),
  )
  for (const { status, text } of await Promise.all(made)) assert.equal(status, 200, text)
  assert.equal((await cli('pause', 'late-resume')).exitCode, 0)
  await eventually(
    async () => (await cli('logs', 'late-heard')).stdout,
    (shown) => shown === 'ready\n',
  )

  await writeFile(join(own.path, 'held'), '')
  const patience = AbortSignal.timeout(60_000)
  const asked = await Promise.all(cases.map((request) => submitSurely(node, request, patience)))
  await eventually(
    async () => cases.filter(({ subject }) => !existsSync(join(own.path, subject))),
    (left) => left.length === 0,
  )
  await node.kill9()
  await rm(join(own.path, 'held'))
  await node.restart()
  const outcomes: Record<string, string> = {}
  for (const [index, command] of asked.entries()) {
    const { status, error } = await ended(node, command)
    outcomes[cases[index]?.subject ?? ''] = error ? error.code : status
  }
  assert.deepEqual(outcomes, {
    'late-pause': 'succeeded',
    'late-resume': 'succeeded',
    'late-exec': 'succeeded',
    'never-exec': 'aborted', // It cannot be told from one that began and has ended since.
    'late-heard': 'aborted',
    'late-unheard': 'succeeded',
  })

  assert.equal((await taskOf(node, 'late-pause')).status, 'paused')
  assert.equal((await cli('unpause', 'late-pause')).exitCode, 0)
  assert.equal((await taskOf(node, 'late-resume')).status, 'running')
  assert.equal((await cli('pause', 'late-resume')).exitCode, 0)
  assert.equal((await cli('unpause', 'late-resume')).exitCode, 0)
  for (const id of ['late-pause', 'late-resume', 'late-exec'])
    assert.equal((await cli('exec', id, 'cat', '/ran')).stdout, id === 'late-exec' ? 'ran\n' : '')
  const exit = (await events(node, 'task/late-exec')).find(({ type }) => type === 'task.exec-exited')
  assert.equal(exit?.data.exitCode, 137)
  assert.match(String(exit?.data.reason), /^lost: /)
  assert.equal((await cli('logs', 'late-heard')).stdout, 'ready\nheard\n')
  await checkBooks(node)
})
