import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isRestartDue, isStartedWithDaemon, type RestartPolicy, restartDelayMs } from '../../../src/commands/restart.ts'
import type { StoppedTask, TaskState } from '../../../src/commands/task.ts'
import { containerOptions } from '../../../src/oci/spec/container-options.ts'
import { NOW, Past } from '../../support/commands.ts'
import { readGolden } from '../../support/golden.ts'

const ended = (exitCode: number, ranMs = 0): StoppedTask => ({
  status: 'stopped',
  runtime: 'runc',
  origin: '',
  exitCode,
  startedAt: new Date(0).toISOString(),
  exitedAt: new Date(ranMs).toISOString(),
  oomKills: 0,
  host: 'released',
})
const absent: TaskState = { status: 'absent' }

const of = (restart: RestartPolicy, { wanted = true, count = 0, delayMs = 0 } = {}) => ({
  status: 'present',
  restart,
  restarts: { wanted, count, delayMs },
})

test('a policy starts again what ended by itself, and nothing that somebody has stopped', () => {
  for (const [policy, exitCode, due] of [
    ['no', 1, false],
    ['on-failure', 0, false],
    ['on-failure', 1, true],
    ['always', 0, true],
    ['unless-stopped', 0, true],
  ] as const) {
    assert.equal(isRestartDue(of({ policy }), ended(exitCode)), due, `${policy} after ${exitCode}`)
    assert.equal(isRestartDue(of({ policy }, { wanted: false }), ended(exitCode)), false, `${policy}, stopped`)
    assert.equal(isRestartDue({ status: 'present', restart: { policy } }, absent), false, `${policy}, never started`)
    assert.equal(isRestartDue({ ...of({ policy }), status: 'deleting' }, ended(exitCode)), false, `${policy}, going`)
  }
  assert.equal(isRestartDue(of({ policy: 'on-failure' }), absent), true, 'a start that failed')
})

test('on-failure with a number ends after so many restarts', () => {
  const restart: RestartPolicy = { policy: 'on-failure', retriesMax: 2 }
  assert.equal(isRestartDue(of(restart, { count: 1 }), ended(1)), true)
  assert.equal(isRestartDue(of(restart, { count: 2 }), ended(1)), false)
})

test('only always comes back with the daemon when it was stopped', () => {
  for (const policy of ['no', 'on-failure', 'always', 'unless-stopped'] as const) {
    assert.equal(isStartedWithDaemon(of({ policy }, { wanted: false }), ended(0)), policy === 'always', policy)
    assert.equal(isStartedWithDaemon(of({ policy }), ended(0)), false, `${policy}, not stopped`)
  }
})

test('the delay doubles from 100 ms to a minute, and begins anew after ten seconds of running', () => {
  const delays: number[] = []
  for (let delayMs = 0, n = 0; n < 12; n++) {
    delayMs = restartDelayMs(of({ policy: 'always' }, { delayMs }), ended(0, 9999))
    delays.push(delayMs)
  }
  assert.deepEqual(delays, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000])
  assert.equal(restartDelayMs(of({ policy: 'always' }, { delayMs: 60_000 }), ended(0, 10_000)), 100)
  assert.equal(restartDelayMs(of({ policy: 'always' }, { delayMs: 400 }), absent), 800)
})

test('a restart is taken once, while it is due', () => {
  const golden = readGolden().findLast(({ event }) => event.type === 'container.created')
  const data = { ...golden?.event.data, options: containerOptions.parse({}) }
  const past = new Past(
    { type: 'container.created', data: { ...data, onExit: 'keep', restart: { policy: 'always' } } },
    { type: 'container.wanted', data: { running: true } },
    { type: 'task.creating', data: { runtime: 'runc' } },
    { type: 'task.created', data: { pid: 42, stopSignal: 15 } },
    { type: 'task.started', data: { pid: 42, startedAt: NOW } },
  )
  const recover = (count: number) => past.ask('container.recover', { count, delayMs: 100 })
  assert.deepEqual(recover(1), [], 'it runs')
  past.happens({ type: 'task.exited', data: { exitCode: 0, exitedAt: NOW } })
  assert.deepEqual(recover(2), [], 'another one is due')
  assert.deepEqual(recover(1), ['container.restarting'])
  past.happens({ type: 'container.restarting', data: { count: 1, delayMs: 100, exitCode: 0 } })
  assert.deepEqual(recover(1), [], 'it was counted')
  assert.deepEqual(recover(0), [], 'nobody has stopped it')
  past.happens({ type: 'container.wanted', data: { running: false } })
  assert.deepEqual(recover(2), [], 'somebody has stopped it')
  assert.deepEqual(recover(0), ['container.wanted'], 'it comes back with the daemon')
  const refused = past.decide('container.create', { ...data, onExit: 'remove', restart: { policy: 'always' } }, 'c2')
  assert.match('refused' in refused ? refused.refused.message : '', /--rm/)
  assert.deepEqual(past.ask('container.update', { restart: { policy: 'no' } }), ['container.updated'])
})
