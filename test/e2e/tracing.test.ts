import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pushTinyImage } from '../../scripts/tiny-image.ts'
import { digestOf } from '../../src/model/digest.ts'
import { parseTraceparent } from '../../src/model/traceparent.ts'
import { startNode } from '../support/daemon.ts'
import { events } from '../support/faults.ts'
import { type ExportedSpan, KIND, startCollector } from '../support/otlp.ts'
import { startProxy } from '../support/proxy.ts'
import { startRegistry } from '../support/registry.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const CALLER = 'b7ad6b7169203331'
const SECRET = 'canary-collector-91be'

test('purser run is one connected trace, from the request through saga, steps and workers to the registry', async () => {
  await using collector = await startCollector()
  await using registry = await startRegistry()
  await using proxy = await startProxy(registry.address)
  await pushTinyImage({ registry: registry.address, repository: 'traced', tag: 'latest' })
  const image = `${proxy.address}/traced:latest`
  // A worker with one place takes commands from its queue only; others begin at once where a place is free.
  const tracing = `[tracing]\nendpoint = "${collector.endpoint}"\nheaders = { authorization = "Bearer ${SECRET}" }`
  const config = `[workers]\nsaga = 1\n${tracing}`
  await using node = await startNode({ config, env: { TRACEPARENT: `00-${TRACE}-${CALLER}-01` } })
  const run = await node.cli('run', '--rm', '--name', 'traced', image, 'true')
  assert.equal(run.exitCode, 0, run.stderr)
  const failed = await node.cli('pull', '-q', `${proxy.address}/absent:latest`)
  assert.notEqual(failed.exitCode, 0)
  const written = await events(node)
  const accept = 'application/openmetrics-text; version=1.0.0'
  const metrics = (await node.http('GET', '/metrics', undefined, { accept })).text
  assert.match(metrics, new RegExp(`^purser_\\w+_bucket{.*} \\d+ # {trace_id="${TRACE}"} `, 'm'))
  assert.equal(await node.stop(), 0) // It sends what it has.

  const spans = collector.spans.filter(({ traceId }) => traceId === TRACE)
  const byId = new Map(spans.map((span) => [span.spanId, span]))
  for (const { name, parentSpanId = '', startTimeUnixNano, endTimeUnixNano } of spans) {
    assert.ok(parentSpanId === CALLER || byId.has(parentSpanId), `${name} has a parent that is not there`)
    assert.ok(endTimeUnixNano >= startTimeUnixNano)
  }
  const way = (span: ExportedSpan | undefined): string[] =>
    span === undefined ? [] : [...way(byId.get(span.parentSpanId ?? '')), label(span)]
  const ways = new Set(spans.map((span) => way(span).join(' > ')))
  const saga = 'POST /v1/commands > send saga > process saga (container.run)'
  const pull = `${saga} > process pull (image.pull)`
  for (const expected of [
    saga,
    pull,
    `${pull} > GET`,
    `${pull} > HEAD`,
    `${saga} > process snapshot (snapshot.prepare)`,
    `${saga} > process task (task.create)`,
    `${saga} > process task (task.start)`,
    'POST /v1/commands > send saga > process saga (container.remove)', // What --rm asks for.
  ])
    assert.ok(ways.has(expected), `no ${expected} in\n${[...ways].sort().join('\n')}`)

  const kinds = (name: string) => new Set(spans.filter((span) => span.name === name).map(({ kind }) => kind))
  assert.deepEqual(kinds('POST /v1/commands'), new Set([KIND.server]))
  assert.deepEqual(kinds('send saga'), new Set([KIND.producer]))
  assert.deepEqual(kinds('process task'), new Set([KIND.consumer]))
  assert.deepEqual(kinds('HEAD'), new Set([KIND.client]))

  const created = spans.find(({ attributes }) => attributes['purser.command.type'] === 'task.create')
  assert.deepEqual(
    { ...created?.attributes, 'messaging.message.id': '', 'purser.correlation.id': '' },
    {
      'messaging.system': 'bullmq',
      'messaging.operation.name': 'process',
      'messaging.operation.type': 'process',
      'messaging.destination.name': 'task',
      'messaging.message.id': '',
      'purser.command.type': 'task.create',
      'purser.correlation.id': '',
      'purser.namespace': 'default',
      'purser.subject': 'traced',
      'purser.attempt': 1,
    },
  )
  const posted = spans.find(({ name }) => name === 'POST /v1/commands')
  assert.equal(posted?.attributes['http.response.status_code'], 202)
  assert.equal(posted?.attributes['http.route'], '/v1/commands')
  const broken = spans.find(({ attributes, name }) => name === 'process pull' && attributes['error.type'] !== undefined)
  assert.equal(broken?.attributes['error.type'], 'not_found')
  assert.equal(broken?.status.code, 2)
  assert.match(broken?.status.message ?? '', /absent/)

  // What is asked of the registry, and what is written down, belongs to the same trace.
  assert.ok(proxy.seen.length > 3)
  for (const { traceparent } of proxy.seen) {
    const { traceId, spanId = '' } = parseTraceparent(traceparent) ?? {}
    assert.equal(traceId, TRACE)
    assert.equal(byId.get(spanId)?.kind, KIND.client)
  }
  for (const type of [
    'command.accepted',
    'image.pulled',
    'task.created',
    'task.started',
    'task.exited',
    'command.succeeded',
  ]) {
    const event = written.find((each) => each.type === type)
    assert.equal(parseTraceparent(event?.traceparent)?.traceId, TRACE, type)
  }
  const started = written.find(({ type }) => type === 'task.started')
  const startedBy = byId.get(parseTraceparent(started?.traceparent)?.spanId ?? '')
  assert.equal(startedBy?.attributes['purser.command.type'], 'task.start')

  assert.equal(collector.resources[0]?.['service.name'], 'purser')
  assert.equal(collector.headers[0]?.path, '/v1/traces')
  assert.equal(collector.headers[0]?.authorization, `Bearer ${SECRET}`)
  assert.ok(!(await node.logs()).includes(SECRET))
})

test('of traces that nobody else records the ratio decides, whole traces at a time', async () => {
  await using collector = await startCollector()
  await using node = await startNode({ config: `[tracing]\nendpoint = "${collector.endpoint}"\nratio = 0.5` })
  for (let index = 0; index < 40; index++) {
    const traceparent = `00-${digestOf(String(index)).slice(-32)}-${CALLER}-00`
    const body = { type: 'namespace.create', subject: `n${index}` }
    assert.equal((await node.http('POST', '/v1/commands', body, { traceparent })).status, 202)
  }
  await node.http(
    'POST',
    '/v1/commands',
    { type: 'namespace.create', subject: 'recorded' },
    {
      traceparent: `00-${'f'.repeat(32)}-${CALLER}-01`,
    },
  )
  assert.equal(await node.stop(), 0)
  const traces = new Set(collector.spans.map(({ traceId }) => traceId))
  assert.ok(traces.size > 5 && traces.size < 40, `${traces.size}`)
  assert.ok(traces.has('f'.repeat(32)))
})

test('without an endpoint commands have the trace of who asks, or of the command line, and nothing is loaded for it', async () => {
  await using node = await startNode()
  const caller = await node.cli('namespace', 'create', 'a')
  assert.equal(caller.exitCode, 0, caller.stderr)
  const traceparent = `00-${TRACE}-${CALLER}-01`
  await node.http('POST', '/v1/commands', { type: 'namespace.create', subject: 'b' }, { traceparent })
  await node.http('POST', '/v1/commands', { type: 'namespace.create', subject: 'c' }, { traceparent: '00-0-0-0' })
  const created = (await events(node)).filter(({ type }) => type === 'namespace.created')
  const traceOf = (subject: string) => created.find((event) => event.subject === `namespace/${subject}`)?.traceparent
  assert.equal(parseTraceparent(traceOf('a'))?.flags, 0)
  assert.equal(traceOf('b'), traceparent)
  assert.equal(traceOf('c'), undefined)
})

test('a collector that is away slows nothing, and its absence is told', async () => {
  await using node = await startNode({ config: '[tracing]\nendpoint = "http://127.0.0.1:9"' })
  const begunAt = performance.now()
  for (let index = 0; index < 20; index++)
    await node.http('POST', '/v1/commands', { type: 'namespace.create', subject: `n${index}` })
  assert.equal(await node.stop(), 0)
  assert.ok(performance.now() - begunAt < 10_000)
  assert.match(await node.logs(), /traces could not be exported/)
})

const label = ({ name, attributes }: ExportedSpan): string =>
  name.startsWith('process') ? `${name} (${attributes['purser.command.type']})` : name
