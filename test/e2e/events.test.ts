import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CloudEvent } from 'cloudevents'
import { z } from 'zod'
import { startNode } from '../support/daemon.ts'

test('events that a node serves are CloudEvents, and what its JSON Schema says of their type', async () => {
  await using node = await startNode()
  const schema = await node.http('GET', '/v1/events/schema')
  assert.equal(schema.status, 200)
  const { $defs } = z.object({ $defs: z.record(z.string(), z.record(z.string(), z.unknown())) }).parse(schema.json)

  assert.equal((await node.cli('namespace', 'create', 'n1')).exitCode, 0)
  assert.equal((await node.cli('namespace', 'create', 'n1')).exitCode, 73) // it exists: command.failed
  assert.equal((await node.cli('gc')).exitCode, 0)
  const events = await node.http('GET', '/v1/events?since=0', undefined, { accept: 'application/x-ndjson' })
  const lines = events.text.trimEnd().split('\n')
  const types = new Set<string>()
  for (const line of lines) {
    const event = z.looseObject({ type: z.string() }).parse(JSON.parse(line))
    types.add(event.type)
    assert.equal(new CloudEvent(event, true).validate(), true)
    const definition = $defs[event.type]
    assert.ok(definition, event.type)
    const found = z.fromJSONSchema(definition as Parameters<typeof z.fromJSONSchema>[0]).safeParse(event)
    assert.ok(found.success, `${line}: ${found.error}`)
  }
  for (const type of ['command.accepted', 'command.failed', 'command.started', 'gc.collected', 'namespace.created']) {
    assert.ok(types.has(type), type)
  }
})
