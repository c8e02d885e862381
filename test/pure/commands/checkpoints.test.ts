import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Happening, NOW, Past } from '../../support/commands.ts'
import { readGolden } from '../../support/golden.ts'

const OURS = '01890000-0000-7000-8000-000000000001'
const created = readGolden().findLast(({ event }) => event.type === 'container.created')
const made: Happening = { type: 'container.created', data: created?.event.data ?? {} }
const running: Happening[] = [
  made,
  { type: 'task.creating', data: { runtime: 'runc' } },
  { type: 'task.created', data: { pid: 42, stopSignal: 15 } },
  { type: 'task.started', data: { pid: 42, startedAt: NOW } },
]
const exited: Happening = { type: 'task.exited', data: { exitCode: 137, exitedAt: NOW, reason: 'checkpoint' } }
const checkpointing = (name: string): Happening => ({ type: 'task.checkpointing', data: { name, processes: 'end' } })
const kept = (name: string): Happening => ({
  type: 'container.checkpoint-kept',
  data: { name, mode: {}, runtime: 'runc', criu: '4.2', architecture: 'amd64', sizeBytes: 1, files: 'leave' },
})
const removed = (name: string): Happening => ({ type: 'container.checkpoint-removed', data: { name } })
const documentOf = (past: Past, aggregate: string) =>
  past.documents.read(aggregate, 'default', 'c1').state as Record<string, unknown>

test('a checkpoint under way is known, also after its processes have ended with it, until it has an outcome', () => {
  const outcomes: Happening[] = [
    { type: 'task.checkpointed', data: { name: 'one' } },
    { type: 'task.checkpoint-failed', data: { name: 'one', error: 'no space' } },
  ]
  for (const outcome of outcomes) {
    const past = new Past(...running, checkpointing('one'))
    assert.deepEqual(documentOf(past, 'task').checkpointing, { name: 'one', processes: 'end', by: OURS })
    past.happens(exited)
    assert.deepEqual(documentOf(past, 'task').checkpointing, { name: 'one', processes: 'end', by: OURS })
    past.happens(outcome)
    assert.equal('checkpointing' in documentOf(past, 'task'), false)
    assert.equal(past.state('task').status, 'stopped')
  }
})

test('while an exec runs, which would not be in it, no checkpoint is made', () => {
  const process = { args: ['true'] }
  const past = new Past(...running, { type: 'task.exec-starting', data: { execId: 'e1', process } })
  assert.equal(past.ask('task.checkpoint', { name: 'one' }), 'failed_precondition')
  past.happens({ type: 'task.exec-started', data: { execId: 'e1', pid: 43 } })
  assert.equal(past.ask('task.checkpoint', { name: 'one' }), 'failed_precondition')
  past.happens({ type: 'task.exec-exited', data: { execId: 'e1', exitCode: 0, exitedAt: NOW } })
  assert.deepEqual(past.ask('task.checkpoint', { name: 'one' }), ['task.checkpointing'])
})

test('names of checkpoints are no paths', () => {
  for (const name of ['', '.', '..', '../x', 'a/b', '.x.part', 'x\0', '__proto__', 'x'.repeat(77)])
    assert.throws(() => new Past(...running).ask('task.checkpoint', { name }), name)
})

test('a container has the checkpoints that were kept and not removed since, and starts from no other', () => {
  const name = fc.constantFrom('one', 'two', 'constructor', 'toString')
  const happening = fc.tuple(fc.constantFrom(kept, removed), name)
  fc.assert(
    fc.property(fc.array(happening), (all) => {
      const past = new Past(made)
      const expected = new Set<string>()
      for (const [what, name] of all) {
        past.happens(what(name))
        if (what === kept) expected.add(name)
        else expected.delete(name)
      }
      assert.deepEqual(new Set(Object.keys(documentOf(past, 'container').checkpoints ?? {})), expected)
      for (const name of ['one', 'two', 'constructor', 'toString', 'valueOf']) {
        const isThere = expected.has(name)
        assert.deepEqual(past.ask('container.start', { checkpoint: name }), isThere ? [] : 'not_found')
        const removal = past.ask('container.remove-checkpoint', { name })
        assert.deepEqual(removal, isThere ? ['container.checkpoint-removed'] : 'not_found')
      }
    }),
  )
})
