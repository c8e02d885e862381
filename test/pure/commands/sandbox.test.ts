import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { sandbox } from '../../../src/commands/sandbox.ts'
import type { AnyAggregate } from '../../../src/model/aggregate.ts'
import { containerOptions } from '../../../src/oci/spec/container-options.ts'
import { sandboxConflict } from '../../../src/oci/spec/sandbox-options.ts'
import { eventOf, type Happening, Past } from '../../support/commands.ts'
import { exampleOf } from '../../support/examples.ts'

const like = (type: keyof typeof sandbox.events) => exampleOf(sandbox.events[type].data) as Record<string, unknown>

const creating: Happening = { type: 'sandbox.creating', id: 'pod', data: { runtime: 'runc' } }
const created: Happening = { type: 'sandbox.created', id: 'pod' }
const running: Happening[] = [
  creating,
  created,
  { type: 'sandbox.starting', id: 'pod' },
  { type: 'sandbox.started', id: 'pod', data: { startedAt: '2026-01-02T03:04:05.678Z' } },
]
const exited: Happening = { type: 'sandbox.exited', id: 'pod', data: like('sandbox.exited') }

/** A container in it, with a task. */
function member(past: Past, id = 'c1'): Past {
  const { sandbox: _, ...record } = exampleRecord()
  past.happens({ type: 'container.created', id, data: { ...record, sandbox: 'pod' } })
  return past.happens({ type: 'task.creating', id, data: { runtime: 'runc' } })
}

const exampleRecord = (): Record<string, unknown> => ({
  image: 'docker.io/library/alpine:3.20',
  manifest: `sha256:${'0123456789abcdef'.repeat(4)}`,
  config: `sha256:${'0123456789abcdef'.repeat(4)}`,
  snapshotter: 'overlayfs',
  snapshotKey: 'c1',
  runtime: 'runc',
  options: containerOptions.parse({}),
  labels: {},
  onExit: 'keep',
})

test('sandboxes and containers have their ids from one space, in each namespace', () => {
  const past = member(new Past(...running))
  assert.equal(past.ask('sandbox.create', {}, 'pod'), 'already_exists')
  assert.equal(past.ask('sandbox.create', {}, 'c1'), 'already_exists')
  assert.equal(past.ask('container.run', { image: 'alpine' }, 'pod'), 'already_exists')
  assert.deepEqual(past.ask('sandbox.create', {}, 'pod', 'elsewhere'), ['sandbox.creating'])
})

test('a sandbox is started once it is made, and again after its end', () => {
  const past = new Past()
  const startAfter = (each: Happening) => past.happens(each).ask('sandbox.start', {}, 'pod')
  assert.equal(past.ask('sandbox.start', {}, 'pod'), 'not_found')
  assert.equal(startAfter(creating), 'failed_precondition')
  assert.deepEqual(startAfter(created), ['sandbox.starting'])
  for (const each of running.slice(2)) assert.equal(startAfter(each), 'failed_precondition')
  assert.deepEqual(startAfter(exited), ['sandbox.starting'])
})

test('what containers share stays while one of them runs, and the record while there are containers', () => {
  const past = member(new Past(...running))
  assert.equal(past.ask('sandbox.halt', {}, 'pod'), 'failed_precondition')
  assert.equal(past.ask('sandbox.delete', {}, 'pod'), 'failed_precondition')
  assert.deepEqual(past.ask('sandbox.delete', { inUse: 'remove' }, 'pod'), [])
  past.happens({ type: 'task.deleted' })
  assert.deepEqual(past.ask('sandbox.halt', {}, 'pod'), ['sandbox.stopping'])
  past.happens({ type: 'container.deleted' })
  assert.equal(past.ask('sandbox.delete', {}, 'pod'), 'failed_precondition', 'it runs')
  assert.equal(past.ask('sandbox.discard', {}, 'pod'), 'failed_precondition')
  past.happens(exited)
  assert.deepEqual(past.ask('sandbox.delete', {}, 'pod'), [])
  assert.deepEqual(past.ask('sandbox.discard', {}, 'pod'), ['sandbox.deleting'])
})

test('how a sandbox has ended stays as it is until it is started again or removed', () => {
  const kept = new Set(['sandbox.exited', 'sandbox.released', 'sandbox.create-failed'])
  const released = { type: 'sandbox.released', data: {} } as const
  fc.assert(
    fc.property(
      fc.array(
        eventOf(sandbox).filter(({ type }) => !kept.has(type)),
        { maxLength: 8 },
      ),
      (before) => {
        let state = sandbox.initial
        for (const event of before) state = folded.evolve(state, event)
        const end = { exitedAt: '2026-01-02T03:04:05.678Z', exitCode: 7 }
        const ended = sandbox.evolve(state, { type: 'sandbox.exited', data: end, ...ENVELOPE })
        if (state.status === 'absent') return assert.equal(ended, state)
        assert.deepEqual(ended, { status: 'stopped', made: state.made, ...end, host: 'held' })
        assert.deepEqual(sandbox.evolve(ended, { ...released, ...ENVELOPE }), { ...ended, host: 'released' })
      },
    ),
  )
})

/** As events of which only the log knows the type. */
const folded: AnyAggregate = sandbox

const ENVELOPE = { time: '2026-01-02T03:04:05.678Z', commandid: 'c', correlationid: 'c' }

test('what is the sandbox’s, a container cannot ask for', () => {
  const asked = {
    network: 'blue',
    hostname: 'own',
    ipc: 'host',
    shmBytes: 8192,
    ports: [{ hostPort: 1, containerPort: 2 }],
  }
  for (const [field, value] of Object.entries(asked)) {
    const options = containerOptions.parse({ [field]: value })
    assert.equal(sandboxConflict(options, 'pod')?.field, field)
    assert.equal(sandboxConflict(options, undefined), undefined)
  }
  assert.equal(sandboxConflict(containerOptions.parse({ pid: 'container:c1' }), 'pod'), undefined)
  const past = new Past(...running)
  assert.equal(past.ask('sandbox.create', { network: 'container:c1' }, 'p2'), 'invalid_argument')
  assert.equal(past.ask('sandbox.create', { ipc: 'host', shmBytes: 8192 }, 'p2'), 'invalid_argument')
})
