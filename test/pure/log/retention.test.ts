import assert from 'node:assert/strict'
import { test } from 'node:test'
import { aggregates } from '../../../src/commands/index.ts'
import { Documents } from '../../../src/log/documents.ts'
import { CommandRetention, ENDED_COMMANDS_MAX } from '../../../src/log/retention.ts'
import type { StoredEvent } from '../../../src/model/event.ts'
import { uuidv7 } from '../../../src/model/ids.ts'

/** Documents that events are folded into, with retention. */
function fold(onForget: (fields: string[]) => void) {
  const documents = new Documents(aggregates)
  const retention = new CommandRetention(documents, onForget)
  const append = (id: string, type: string, data: Record<string, unknown>) => {
    const event: StoredEvent = {
      position: documents.head + 1,
      specversion: '1.0',
      id: uuidv7(),
      source: '/nodes/test',
      type,
      subject: `command/${id}`,
      time: '2026-01-01T00:00:00.000Z',
      namespace: 'default',
      aggregate: 'command',
      commandid: id,
      correlationid: id,
      actor: 'test',
      schema: 1,
      data,
    }
    documents.apply(event)
    retention.applied(event)
  }
  return {
    documents,
    accept(parentId?: string): string {
      const id = uuidv7()
      append(id, 'command.accepted', { command: { id, type: 'gc.collect', ...(parentId ? { parentId } : {}) } })
      return id
    },
    end: (id: string) => append(id, 'command.succeeded', { result: {}, durationMs: 0 }),
  }
}

const has = (documents: Documents, id: string): boolean => documents.read('command', 'default', id).version > 0

test('the oldest ended commands are forgotten, but no step of a command that goes on', () => {
  const forgotten: string[] = []
  const log = fold((fields) => forgotten.push(...fields))
  const old = log.accept()
  log.end(old)
  const composite = log.accept()
  const step = log.accept(composite)
  log.end(step)
  const fill = () => {
    for (let count = 0; count < ENDED_COMMANDS_MAX; count++) log.end(log.accept())
  }
  fill()
  assert.equal(has(log.documents, old), false)
  assert.equal(has(log.documents, step), true)
  assert.ok(has(log.documents, composite))
  assert.equal(log.documents.count('command'), ENDED_COMMANDS_MAX + 1)

  // One that starts on what is stored keeps the same.
  const stored = [...log.documents.serialised('command')]
  const restarted = new Documents(aggregates)
  for (const [field, value] of stored) restarted.load('command', field, value)
  new CommandRetention(restarted, (fields) => assert.fail(fields.join())).loaded()

  log.end(composite)
  fill()
  assert.equal(has(log.documents, step), false)
  assert.equal(log.documents.count('command'), ENDED_COMMANDS_MAX)
  assert.ok(forgotten.includes(`default/${step}`))
})

test('which are forgotten depends on the order of events alone, however steps and their commands end', () => {
  const forgotten: string[] = []
  const log = fold((fields) => forgotten.push(...fields))
  // The same by looking at all of them each time.
  const ended: string[] = []
  const goesOn = new Set<string>()
  const parents = new Map<string, string>()
  const expected: string[] = []
  const end = (id: string) => {
    goesOn.delete(id)
    ended.push(id)
    for (let at = 0; ended.length > ENDED_COMMANDS_MAX && at < ended.length; ) {
      if (goesOn.has(parents.get(ended[at] ?? '') ?? '')) at += 1
      else expected.push(`default/${ended.splice(at, 1)}`)
    }
    log.end(id)
  }
  const composites: string[] = []
  for (let number = 0; number < ENDED_COMMANDS_MAX + 3000; number += 1) {
    if (number % 5 === 0) {
      const composite = log.accept()
      composites.push(composite)
      goesOn.add(composite)
    }
    const parent = composites[(number * 7919) % Math.max(1, composites.length)]
    const step = log.accept(number % 3 === 0 ? undefined : parent)
    if (number % 3 !== 0 && parent) parents.set(step, parent)
    end(step)
    // In another order than that in which they began, and never all of them.
    if (number % 11 === 0 && composites.length > 40) end(composites.splice((number * 31) % 40, 1)[0] ?? '')
  }
  assert.ok(expected.length > 2000)
  assert.deepEqual(forgotten, expected)
})
