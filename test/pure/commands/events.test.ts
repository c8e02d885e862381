import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { CloudEvent, HTTP } from 'cloudevents'
import { z } from 'zod'
import { generatedPages } from '../../../scripts/generate-docs.ts'
import { commandCatalog, eventCatalog, eventsJsonSchema } from '../../../src/commands/catalog.ts'
import { aggregates } from '../../../src/commands/index.ts'
import { Documents } from '../../../src/log/documents.ts'
import { isKnown, upcast } from '../../../src/log/upcast.ts'
import { eventEnvelope, type StoredEvent } from '../../../src/model/event.ts'
import { event } from '../../../src/model/event-schema.ts'
import { knownEvents, readGolden, shapeOf } from '../../support/golden.ts'
import { ROOT, readSources } from '../../support/sources.ts'

const golden = readGolden()
const stored: StoredEvent[] = golden.map(({ event }, index) => ({ ...event, position: index + 1 }))

test('there is a golden event of every version of every type', () => {
  const have = new Set(golden.map(({ event }) => `${event.type} ${event.schema}`))
  const missing = knownEvents().flatMap(({ type, schema }) =>
    Array.from({ length: schema.version }, (_, index) => `${type} ${index + 1}`).filter((each) => !have.has(each)),
  )
  assert.deepEqual(missing, [], 'npm run golden adds the present version of each')
  assert.equal(have.size, golden.length, 'a type and version has one line')
})

test('data that look otherwise than those in logs have a new version', () => {
  for (const { type, schema } of knownEvents()) {
    const line = golden.find(({ event }) => event.type === type && event.schema === schema.version)
    assert.deepEqual(
      shapeOf(schema.data),
      line?.shape,
      `${type} is no longer what version ${schema.version} was: raise the version, say how to upcast, npm run golden`,
    )
  }
})

test('no type of event has gone: logs hold it', () => {
  assert.deepEqual(
    stored.filter((each) => !isKnown(aggregates, each)).map(({ type, schema }) => `${type} ${schema}`),
    [],
  )
})

test('every golden event has the shape of its time, and upcast that of today', () => {
  const today = new Map(knownEvents().map(({ type, schema }) => [type, schema]))
  golden.forEach(({ shape, event }, index) => {
    // A shape is JSON Schema, as this project wrote it.
    z.fromJSONSchema(shape as Parameters<typeof z.fromJSONSchema>[0]).parse(event.data)
    const now = upcast(aggregates, stored[index] as StoredEvent)
    const schema = today.get(event.type)
    assert.equal(now.schema, schema?.version)
    assert.deepEqual(schema?.data.parse(now.data), now.data, event.type)
  })
})

test('every golden event can follow every other one of its aggregate, and leaves a state that is JSON', () => {
  for (const aggregate of aggregates.values()) {
    const own = stored.filter((each) => each.aggregate === aggregate.name).map((each) => upcast(aggregates, each))
    for (const before of own) {
      for (const after of own) {
        const state = aggregate.evolve(aggregate.evolve(aggregate.initial, before), after)
        assert.deepEqual(JSON.parse(JSON.stringify(state)), state, `${before.type}, ${after.type}`)
      }
    }
  }
})

test('the golden events fold as a log does', () => {
  const documents = new Documents(aggregates)
  for (const each of stored) documents.apply(each)
  assert.equal(documents.head, stored.length)
  assert.equal(documents.skipped, 0)
})

test('a version without an upcast for each step before it is refused at once', () => {
  assert.throws(() => event(2, 'it is', z.strictObject({})), /one is needed for each step/)
  assert.throws(() => event(1, 'it is', z.strictObject({}), (data) => data), /one is needed for each step/)
})

test('every event is a valid CloudEvent 1.0, also on its way through HTTP', () => {
  for (const each of stored) {
    const strict = new CloudEvent(each, true)
    assert.equal(strict.validate(), true)
    const message = HTTP.structured(strict)
    const back = HTTP.toEvent({ headers: message.headers, body: message.body })
    assert.ok(back instanceof CloudEvent)
    const { datacontenttype: _, ...attributes } = JSON.parse(String(back))
    assert.deepEqual(attributes, each)
  }
})

test('attributes other than data are strings, or integers of 32 bits', () => {
  // CloudEvents 1.0.2, "Type System"; the SDK takes anything for an extension.
  for (const { data: _, ...attributes } of stored) {
    for (const [name, value] of Object.entries(attributes)) {
      assert.ok(typeof value === 'string' || (Number.isInteger(value) && Number(value) === (Number(value) | 0)), name)
    }
  }
})

test('names of attributes are lower-case letters and digits, 20 at most', () => {
  // CloudEvents 1.0.2, "Naming Conventions"
  for (const name of [...Object.keys(eventEnvelope.shape), 'position']) assert.match(name, /^[a-z0-9]{1,20}$/)
})

test('what CloudEvents does not allow is noticed', () => {
  const [first] = stored
  assert.ok(first)
  for (const wrong of [{ type: '' }, { source: '' }, { Actor: 'x' }]) {
    assert.throws(() => new CloudEvent({ ...first, ...wrong }, true), JSON.stringify(wrong))
  }
})

test('docs/events.md is what the schemas say', () => {
  for (const [name, text] of generatedPages()) {
    assert.equal(readFileSync(join(ROOT, 'docs', name), 'utf8'), text, `docs/${name} is stale: npm run docs`)
  }
})

test('every event and every command says what it means, in one line', () => {
  for (const { type, meaning } of [...eventCatalog(), ...commandCatalog()]) {
    assert.match(meaning, /^[a-z][^\n|.]{4,119}$/, type)
  }
})

test('a command leads to events and commands that there are', () => {
  const known = new Set([...eventCatalog(), ...commandCatalog()].map(({ type }) => type))
  for (const { type, leadsTo } of commandCatalog()) {
    assert.ok(leadsTo.length > 0, type)
    assert.deepEqual(
      leadsTo.filter((each) => !known.has(each)),
      [],
      type,
    )
  }
})

test('every fact that the code of a handler names is one that its command is said to lead to', () => {
  using project = readSources('src')
  const types = new Set([...eventCatalog(), ...commandCatalog()].map(({ type }) => type))
  const byType = new Map(commandCatalog().map((each) => [each.type, each]))
  let handlers = 0
  for (const { path, text } of project.sources) {
    const handled = [...text.matchAll(/define\w+\(\w+, '([a-z]+\.[a-z-]+)'/g)].map(([, type = '']) => type)
    if (handled.length === 0) continue
    handlers += 1
    const facts = [...text.matchAll(/\.fact\([^']*'([a-z]+\.[a-z-]+)'/g)].map(([, type = '']) => type)
    const steps = [...text.matchAll(/type: '([a-z]+\.[a-z-]+)', subject/g)].map(([, type = '']) => type)
    const said = new Set(handled.flatMap((type) => byType.get(type)?.leadsTo ?? []))
    assert.deepEqual(
      [...facts, ...steps].filter((type) => types.has(type) && !said.has(type)),
      [],
      path,
    )
  }
  assert.ok(handlers > 15)
})

test('the JSON Schema of events accepts every golden event of today, and nothing of another type', () => {
  const schema = eventsJsonSchema() as { $defs: Record<string, Record<string, unknown>>; oneOf: unknown[] }
  assert.equal(schema.oneOf.length, eventCatalog().length)
  const today = new Map(knownEvents().map(({ type, schema }) => [type, schema.version]))
  for (const each of stored.filter(({ type, schema }) => today.get(type) === schema)) {
    const definition = schema.$defs[each.type]
    assert.ok(definition, each.type)
    const accepts = z.fromJSONSchema(definition as Parameters<typeof z.fromJSONSchema>[0])
    assert.ok(accepts.safeParse(each).success, each.type)
    assert.equal(accepts.safeParse({ ...each, type: 'berth.taken' }).success, false)
    assert.equal(accepts.safeParse({ ...each, schema: 99 }).success, false)
    assert.equal(accepts.safeParse({ ...each, data: 'none' }).success, false)
  }
})
