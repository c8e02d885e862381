import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Happening, NOW, Past } from '../../support/commands.ts'

const creating: Happening = { type: 'task.creating', data: { runtime: 'runc' } }
const created: Happening = { type: 'task.created', data: { pid: 42, stopSignal: 15 } }
const started: Happening = { type: 'task.started', data: { pid: 42, startedAt: NOW } }
const paused: Happening = { type: 'task.paused' }
const exited = (exitCode: number, more = {}): Happening => ({
  type: 'task.exited',
  data: { exitCode, exitedAt: NOW, ...more },
})
const process = { args: ['true'] }
const exec = (execId: string): Happening[] => [
  { type: 'task.exec-starting', data: { execId, process } },
  { type: 'task.exec-started', data: { execId, pid: 43 } },
]
const execExited = (execId: string, exitedAt = NOW): Happening => ({
  type: 'task.exec-exited',
  data: { execId, exitCode: 0, exitedAt },
})

const PASTS = {
  absent: [],
  creating: [creating],
  created: [creating, created],
  running: [creating, created, started],
  paused: [creating, created, started, paused],
  stopped: [creating, created, started, exited(7)],
} as const satisfies Record<string, readonly Happening[]>
type Status = keyof typeof PASTS
const STATUSES = Object.keys(PASTS) as Status[]

/** In which states a command is taken; in all others it is refused. */
const TAKEN: Readonly<Record<string, readonly Status[]>> = {
  'task.create': ['absent'],
  'task.start': ['created'],
  'task.exec': ['running'],
  'task.kill': ['created', 'running', 'paused'],
  'task.destroy': ['created', 'running', 'paused'],
  'task.pause': ['running'],
  'task.resume': ['paused'],
  'task.update': ['created', 'running', 'paused'],
  'task.checkpoint': ['running'],
  'task.delete': ['stopped', 'created', 'creating'],
}
const PAYLOADS: Readonly<Record<string, Record<string, unknown>>> = {
  'task.destroy': { phase: 'kill-cgroup' },
  'task.exec': { execId: 'e1', ...process },
  'task.checkpoint': { name: 'one' },
  'task.update': { resources: { pidsLimit: 10 } },
}

for (const [type, taken] of Object.entries(TAKEN)) {
  test(`${type} is taken when the task is ${taken.join(', ')}, and refused otherwise`, () => {
    for (const status of STATUSES) {
      const past = new Past(...PASTS[status])
      assert.equal(past.state('task').status, status)
      const answer = past.ask(type, PAYLOADS[type])
      if (taken.includes(status)) assert.ok(Array.isArray(answer), `${status}: ${answer}`)
      else if (type === 'task.create') assert.equal(answer, 'already_exists', status)
      else assert.equal(answer, status === 'absent' ? 'not_found' : 'failed_precondition', status)
    }
  })
}

test('the first exit stands, whatever is said later', () => {
  const past = new Past(...PASTS.running, exited(7, { reason: 'oom', oomKills: 1 }))
  const before = past.state('task')
  past.happens(exited(0)).happens(started).happens(paused).happens({ type: 'task.oom' })
  assert.deepEqual(past.state('task'), before)
  assert.equal(before.exitCode, 7)
})

test('a task that ends before it was started is stopped, and has no start', () => {
  for (const status of ['creating', 'created'] as const) {
    const state = new Past(...PASTS[status], exited(137)).state('task')
    assert.deepEqual([state.status, state.exitCode, state.startedAt], ['stopped', 137, undefined])
  }
})

test('kills of the kernel for want of memory are counted, and known after the exit', () => {
  const past = new Past(...PASTS.running, { type: 'task.oom' }, { type: 'task.oom' })
  assert.equal(past.happens(exited(137)).state('task').oomKills, 2)
})

test('after its deletion a task is as if it never had been', () => {
  const past = new Past(...PASTS.stopped, { type: 'task.deleted' })
  assert.deepEqual(past.state('task'), { status: 'absent' })
  assert.equal(past.documents.count('task'), 0)
  assert.deepEqual(past.ask('task.create'), ['task.creating'])
})

test('a task that could not be created leaves room for another', () => {
  const past = new Past(creating, { type: 'task.create-failed', data: { error: 'no such file' } })
  assert.deepEqual(past.ask('task.create'), ['task.creating'])
})

test('an exec id is taken once while the task runs, and free again when it could not be started', () => {
  const payload = { execId: 'e1', ...process }
  const past = new Past(...PASTS.running, ...exec('e1'))
  assert.equal(past.ask('task.exec', payload), 'already_exists')
  assert.equal(past.happens(execExited('e1')).ask('task.exec', payload), 'already_exists')
  past.happens({ type: 'task.exec-starting', data: { execId: 'e2', process } })
  past.happens({ type: 'task.exec-failed', data: { execId: 'e2', error: 'no such file' } })
  assert.deepEqual(past.ask('task.exec', { ...payload, execId: 'e2' }), ['task.exec-starting'])
})

test('an exec may have a name that every object has', () => {
  for (const execId of ['constructor', 'toString', 'valueOf', 'hasOwnProperty']) {
    const past = new Past(...PASTS.running)
    assert.deepEqual(past.ask('task.exec', { execId, ...process }), ['task.exec-starting'], execId)
    past.happens(execExited(execId))
    assert.deepEqual(past.state('task').execs, {})
    for (const each of [...exec(execId), execExited(execId)]) past.happens(each)
    assert.equal(past.state('task').execs?.[execId]?.status, 'exited')
  }
})

test('a signal goes to an exec that runs, and to no other', () => {
  const past = new Past(...PASTS.running, ...exec('e1'))
  assert.deepEqual(past.ask('task.kill', { execId: 'e1' }), ['task.killing'])
  assert.equal(past.ask('task.kill', { execId: 'e2' }), 'not_found')
  assert.equal(past.happens(execExited('e1')).ask('task.kill', { execId: 'e1' }), 'failed_precondition')
})

test('of the execs that ended the newest stay, those that run all do', () => {
  const nameOf = (i: number) => (i % 2 === 0 ? `e${i}` : String(100 - i)) // Words and numbers.
  const past = new Past(...PASTS.running, ...exec('runs'))
  for (let i = 0; i < 100; i++) {
    const at = new Date(Date.parse(NOW) + i).toISOString()
    for (const each of [...exec(nameOf(i)), execExited(nameOf(i), at)]) past.happens(each)
  }
  const { execs = {} } = past.state('task')
  assert.equal(execs.runs?.status, 'running')
  assert.deepEqual(
    Object.keys(execs)
      .filter((id) => id !== 'runs')
      .sort(),
    Array.from({ length: 32 }, (_, i) => nameOf(68 + i)).sort(),
  )
})

test('a signal is a name, short or long, or a number; anything else is no command', () => {
  const past = new Past(...PASTS.running)
  for (const signal of ['SIGTERM', 'TERM', 'term', '15']) {
    const decision = past.decide('task.kill', { signal })
    assert.ok(!('refused' in decision))
    assert.deepEqual(decision[0]?.data, { signal: 15, target: 'init' }, signal)
  }
  for (const signal of ['SIGNOPE', '0', '-9', '99', '']) assert.throws(() => past.ask('task.kill', { signal }), signal)
})

test('a stop and what holds a task are part of its state until it has ended and been removed', () => {
  const until = '2026-01-02T03:04:15.678Z'
  const stuck = {
    processes: [{ pid: 42, command: 'sh', state: 'D', stack: [] }],
    mounts: ['/run/x/rootfs'],
    holders: [],
  }
  const past = new Past(...PASTS.running, { type: 'task.stopping', data: { phase: 'ask', signal: 15, until } })
  const state = () => past.documents.read('task', 'default', 'c1').state as Record<string, unknown>
  assert.deepEqual(state().stop, { phase: 'ask', until, by: '01890000-0000-7000-8000-000000000001' })
  past
    .happens({ type: 'task.stopping', data: { phase: 'clean-up', until } })
    .happens({ type: 'task.stuck', data: stuck })
  assert.deepEqual(state().stuck, { ...stuck, since: NOW })
  assert.equal(past.state('task').status, 'running')
  past.happens(exited(137, { reason: 'lost: it did not end' }))
  assert.deepEqual([state().stop, state().stuck], [undefined, undefined])
  past.happens({ type: 'task.stuck', data: { ...stuck, processes: [] } })
  assert.deepEqual(state().stuck, { ...stuck, processes: [], since: NOW })
  past.happens({ type: 'task.released' })
  assert.deepEqual([state().host, state().stuck], ['released', undefined])
})
