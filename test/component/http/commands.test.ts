import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { after, before, describe, test } from 'node:test'
import { z } from 'zod'
import { commandSchema } from '../../../src/api/http/schemas.ts'
import { type Api, startApi } from '../../support/http.ts'

const UNKNOWN = '01890000-0000-7000-8000-000000000001'
const pull = { type: 'image.pull', subject: 'busybox' }

const page = z.strictObject({ items: z.array(commandSchema), next: z.string().optional() })

describe('commands over HTTP', () => {
  let api: Api
  before(async () => {
    api = await startApi({ queued: ['image.pull', 'gc.collect'] })
  })
  after(() => api[Symbol.asyncDispose]())

  const post = (body: unknown, headers: Record<string, string> = {}) => api.http('POST', '/v1/commands', body, headers)

  test('one that is accepted is answered with 202, its place, and the command, which is durable by then', async () => {
    const answer = await post({ ...pull, priority: 7 }, { 'purser-namespace': 'n1' })
    assert.equal(answer.status, 202)
    const command = commandSchema.parse(answer.json)
    assert.equal(answer.headers.location, `/v1/commands/${command.id}`)
    assert.equal(answer.headers['preference-applied'], undefined)
    assert.equal(command.namespace, 'n1')
    assert.equal(command.subject, 'docker.io/library/busybox:latest')
    assert.equal(command.status, 'accepted')
    assert.equal(command.priority, 7)
    assert.equal(command.surface, 'http')
    const events = await Array.fromAsync(api.log.read(0))
    assert.ok(events.some(({ type, subject }) => type === 'command.accepted' && subject === `command/${command.id}`))
    const again = await api.http('GET', `/v1/commands/${command.id}`)
    assert.deepEqual(again.json, answer.json)
  })

  test('one on a record has ended already, and is still answered with 202 when nobody waits for it', async () => {
    const answer = await post({ type: 'namespace.create', subject: 'ended' })
    assert.equal(answer.status, 202)
    assert.equal(commandSchema.parse(answer.json).status, 'succeeded')
  })

  test('waited for, one that succeeds is a 200', async () => {
    const answer = await post({ type: 'namespace.create', subject: 'ok' }, { prefer: 'wait=5' })
    assert.equal(answer.status, 200)
    assert.equal(answer.headers['preference-applied'], 'wait=5')
    assert.equal(commandSchema.parse(answer.json).status, 'succeeded')
  })

  test('waited for, one that fails is a problem with its error and its id', async () => {
    const answer = await post({ type: 'namespace.remove', subject: 'nosuch' }, { prefer: 'wait=5' })
    assert.equal(answer.status, 404)
    assert.equal(answer.headers['content-type'], 'application/problem+json')
    const problem = z.looseObject({ code: z.string(), command: z.string() }).parse(answer.json)
    assert.equal(problem.code, 'not_found')
    assert.equal(answer.headers.location, `/v1/commands/${problem.command}`)
  })

  test('waited for, one that has not ended within the time is a 202', async () => {
    for (const prefer of ['wait=0', 'respond-async, wait=0']) {
      const answer = await post(pull, { prefer })
      assert.equal(answer.status, 202)
      assert.equal(answer.headers['preference-applied'], prefer)
      assert.equal(commandSchema.parse(answer.json).status, 'accepted')
    }
  })

  test('a wait ends with the command, whoever began to wait when', async () => {
    const { id } = commandSchema.parse((await post(pull)).json)
    const waiting = api.http('GET', `/v1/commands/${id}`, undefined, { prefer: 'wait=60' })
    await api.end(id, 'command.succeeded', { result: { digest: 'd' } })
    const answer = await waiting
    assert.equal(answer.status, 200)
    assert.equal(answer.headers['preference-applied'], 'wait=60')
    assert.deepEqual(commandSchema.parse(answer.json).result, { digest: 'd' })
  })

  test('one that failed is a 200 to who asks for it: what failed is the command, not the asking', async () => {
    const { id } = commandSchema.parse((await post(pull)).json)
    await api.end(id, 'command.failed', { error: { code: 'unavailable', message: 'the registry is away' } })
    const answer = await api.http('GET', `/v1/commands/${id}`, undefined, { prefer: 'wait=60' })
    assert.equal(answer.status, 200)
    const command = commandSchema.parse(answer.json)
    assert.equal(command.status, 'failed')
    assert.equal(command.error?.code, 'unavailable')
  })

  test('what Prefer says beyond what is known is left out, a wait of hours is cut to ten minutes', async () => {
    const body = { type: 'namespace.create', subject: 'prefer' }
    const asked = 'return=minimal;foo="a", WAIT="99999" , wait=3, respond-async'
    const answer = await post(body, { prefer: asked })
    assert.equal(answer.headers['preference-applied'], 'respond-async, wait=600')
    const malformed = await post({ type: 'namespace.create', subject: 'prefer2' }, { prefer: 'wait=-1, wait=x, ,=' })
    assert.equal(malformed.status, 202)
    assert.equal(malformed.headers['preference-applied'], undefined)
  })

  test('a repeated key answers for the command of then, another request under it is refused', async () => {
    const headers = { 'idempotency-key': 'k 1', prefer: 'wait=5' }
    const body = { type: 'namespace.create', subject: 'keyed', payload: { labels: { a: '1', b: '2' } } }
    const first = await post(body, headers)
    const head = api.log.head
    const second = await post({ ...body, payload: { labels: { b: '2', a: '1' } } }, headers)
    assert.deepEqual([second.status, second.json], [200, first.json])
    assert.equal(api.log.head, head)
    const other = await post({ ...body, subject: 'keyed2' }, headers)
    assert.equal(other.status, 409)
    assert.match(other.text, /already_exists.*idempotency key \\"k 1\\" was used for another request/)
    const elsewhere = await post({ ...pull }, { ...headers, prefer: '', 'purser-namespace': 'n2' })
    assert.equal(elsewhere.status, 202)
  })

  test('of two requests at once with one key, one is carried out', async () => {
    const headers = { 'idempotency-key': 'at-once', prefer: 'wait=5' }
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => post({ type: 'namespace.create', subject: 'twice' }, headers)),
    )
    assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]))
    assert.equal(new Set(answers.map(({ json }) => commandSchema.parse(json).id)).size, 1)
  })

  test('a key that is too long, and an empty one, are refused', async () => {
    for (const key of ['x'.repeat(256), '']) {
      const answer = await post(pull, { 'idempotency-key': key })
      assert.equal(answer.status, 400)
      assert.match(answer.text, /"field":"idempotencyKey"/)
    }
  })

  test('a traceparent is handed on, a malformed one is left out', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    assert.equal(commandSchema.parse((await post(pull, { traceparent })).json).traceparent, traceparent)
    const answer = await post(pull, { traceparent: 'ff' })
    assert.equal(answer.status, 202)
    assert.equal(commandSchema.parse(answer.json).traceparent, undefined)
  })

  test('one that came after its deadline has failed', async () => {
    const answer = await post({ ...pull, deadline: '2020-01-01T00:00:00Z' }, { prefer: 'wait=5' })
    assert.equal(answer.status, 504)
    assert.match(answer.text, /deadline_exceeded/)
  })

  test('a command that nobody knows is not found, however its id is written', async () => {
    for (const id of [UNKNOWN, 'x', '%2e%2e', `${UNKNOWN}0`]) {
      for (const [method, path] of [
        ['GET', `/v1/commands/${id}`],
        ['DELETE', `/v1/commands/${id}`],
        ['GET', `/v1/commands/${id}/progress`],
      ] as const) {
        const answer = await api.http(method, path)
        assert.equal(answer.status, 404, `${method} ${path}`)
        assert.match(answer.text, /"code":"not_found"/)
      }
    }
  })

  test('DELETE asks for the end of a command; of one that has ended it is refused', async () => {
    const { id } = commandSchema.parse((await post(pull, { 'purser-namespace': 'n3' })).json)
    // Ids are unique on the node: nobody has to know the namespace.
    const answer = await api.http('DELETE', `/v1/commands/${id}`)
    assert.equal(answer.status, 202)
    assert.equal(answer.headers.location, `/v1/commands/${id}`)
    assert.equal(commandSchema.parse(answer.json).cancelRequested, true)
    const done = commandSchema.parse((await post({ type: 'namespace.create', subject: 'done' })).json)
    const late = await api.http('DELETE', `/v1/commands/${done.id}`)
    assert.equal(late.status, 412)
    assert.match(late.text, /has succeeded already","code":"failed_precondition"/)
  })

  test('lists are newest first, by status, by types, in pages', async () => {
    const headers = { 'purser-namespace': 'lists' }
    const ids: string[] = []
    for (let index = 0; index < 5; index++) ids.push(commandSchema.parse((await post(pull, headers)).json).id)
    const list = async (query: string) => page.parse((await api.http('GET', `/v1/commands?${query}`, '', headers)).json)
    const [newest = '', ...older] = [...ids].reverse()
    await api.log.record(
      [{ aggregate: 'command', id: newest, type: 'command.succeeded', data: { result: {}, durationMs: 1 } }],
      'lists',
      { commandId: newest, correlationId: newest, actor: 'x' },
    )
    const of = ({ items }: z.output<typeof page>) => items.map(({ id }) => id)
    assert.deepEqual(of(await list('')), [newest, ...older])
    assert.deepEqual(of(await list('status=ended')), [newest])
    assert.deepEqual(of(await list('status=active&type=image.*')), older)
    assert.deepEqual(of(await list('type=task.*&type=gc.*')), [])
    const first = await list('limit=2')
    assert.deepEqual(of(first), [newest, older[0]])
    await post(pull, headers) // Newer than the page: it moves nothing.
    const second = await list(`limit=2&cursor=${first.next}`)
    assert.deepEqual(of(second), older.slice(1, 3))
    const last = await list(`limit=2&cursor=${second.next}`)
    assert.deepEqual([of(last), last.next], [older.slice(3), undefined])
    const wrong = await api.http('GET', '/v1/commands?status=done')
    assert.equal(wrong.status, 400)
    assert.match(wrong.text, /"field":"status"/)
  })

  test('a client that goes away while it waits leaves nobody waiting', async () => {
    const { id } = commandSchema.parse((await post(pull)).json)
    const asked = request({ socketPath: api.socketPath, path: `/v1/commands/${id}`, headers: { prefer: 'wait=600' } })
    asked.on('error', () => {}).end()
    await once(asked, 'finish')
    asked.destroy()
    // Stopping the server waits for what is under way: it must not wait for the ten minutes.
    await api.stop()
    await assert.rejects(api.http('GET', '/healthz'))
  })
})
