import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { PurserError } from '../../../src/model/errors.ts'
import type { TaskExit } from '../../../src/shim/shim.ts'
import { Exits, type WatchedTask } from '../../../src/workers/task/exits.ts'

const never = new Promise<TaskExit>(() => {})
const gone = async () => {
  throw new PurserError('unavailable', 'the shim has ended')
}
const taskOf = (wait: () => Promise<TaskExit>): WatchedTask => ({
  namespace: 'default',
  id: 'c1',
  shim: { wait, state: gone },
})
const exit: TaskExit = { exitCode: 137, exitedAt: '2026-01-01T00:00:00Z' }

function startExits() {
  const exits = new Exits({ warn() {} }, async () => true)
  const { pid } = spawnSync('true')
  const event = {
    topic: '/tasks/exit',
    namespace: 'default',
    containerId: 'c1',
    execId: undefined,
    pid,
    at: exit.exitedAt,
    ...exit,
  } as const
  return { exits, event, pid, signal: new AbortController().signal }
}

test('an event of a process that is gone ends its task, where the shim cannot be asked', async () => {
  const { exits, event, pid, signal } = startExits()
  const task = taskOf(() => never)
  const ended = exits.of(task, undefined, signal)
  await exits.consider(event, task, pid, signal)
  assert.deepEqual(await ended, exit)
})

test('an event of a task that ended does not end the one that was started after it', async () => {
  const { exits, event, pid, signal } = startExits()
  const first = taskOf(async () => exit)
  const considered = exits.consider(event, first, pid, signal)
  assert.deepEqual(await exits.of(first, undefined, signal), exit)
  const second = exits.of(
    taskOf(() => never),
    undefined,
    signal,
  )
  await considered
  assert.equal(await Promise.race([second, turn('waits')]), 'waits')
})
