import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { problemAnswer, problemOf, problemSchema } from '../../../src/api/http/problem.ts'
import { ERROR_CODES, PurserError } from '../../../src/model/errors.ts'
import type { HttpResult } from '../../support/daemon.ts'
import { type Api, startApi } from '../../support/http.ts'

/** What every error must be. @see RFC 9457 */
function problemIn({ status, headers, json }: HttpResult) {
  assert.equal(headers['content-type'], 'application/problem+json')
  const problem = problemSchema.parse(json)
  assert.equal(problem.status, status)
  return problem
}

test('every error code has its status, and a problem says all that the error says', () => {
  const statuses = {
    cancelled: 499,
    unknown: 500,
    invalid_argument: 400,
    deadline_exceeded: 504,
    not_found: 404,
    already_exists: 409,
    permission_denied: 403,
    resource_exhausted: 507,
    failed_precondition: 412,
    aborted: 409,
    out_of_range: 416,
    unimplemented: 501,
    internal: 500,
    unavailable: 503,
    data_loss: 502,
    unauthenticated: 401,
  }
  for (const code of Object.keys(ERROR_CODES) as (keyof typeof ERROR_CODES)[]) {
    const error = new PurserError(code, 'what', { remedy: 'do', field: 'f', cause: new Error('secret') })
    const { status, body, headers } = problemAnswer(problemOf(error.toBody()))
    assert.equal(status, statuses[code], code)
    assert.equal(headers?.['content-type'], 'application/problem+json')
    assert.deepEqual(JSON.parse(String(body)), {
      type: 'about:blank',
      title: code,
      status,
      detail: 'what',
      code,
      remedy: 'do',
      field: 'f',
    })
  }
})

describe('problems', () => {
  let api: Api
  before(async () => {
    api = await startApi()
  })
  after(() => api[Symbol.asyncDispose]())

  const post = (body: unknown, headers?: Record<string, string>) => api.http('POST', '/v1/commands', body, headers)

  const bodies: [what: string, body: unknown, headers: Record<string, string>, status: number, says: RegExp][] = [
    ['no JSON', '{"type": }', {}, 400, /not JSON: .*(position|token)/],
    ['nothing', '', {}, 400, /empty/],
    ['a key that would change a prototype', '{"__proto__": {}}', {}, 400, /__proto__/],
    ['another type', 'type=x', { 'content-type': 'application/x-www-form-urlencoded' }, 415, /type that is not/],
    ['plain text', '{}', { 'content-type': 'text/plain' }, 415, /type that is not/],
    ['no type', '{}', { 'content-type': '' }, 415, /type that is not/],
    ['more than a mebibyte', `"${'x'.repeat(1024 * 1024)}"`, {}, 413, /too large/],
    ['more than it says', '{}', { 'content-length': '9999999' }, 413, /too large/],
  ]
  for (const [what, body, headers, status, says] of bodies) {
    test(`a body that is ${what} is a problem of status ${status}`, async () => {
      const answer = await post(body, headers)
      assert.equal(answer.status, status)
      assert.match(problemIn(answer).detail, says)
    })
  }

  const fields: [what: string, body: unknown, field: string][] = [
    ['an array', [], ''],
    ['null', null, ''],
    ['text', 'container.run', ''],
    ['without a type', {}, 'type'],
    ['with a field that nobody knows', { type: 'gc.collect', subject: 'node', colour: 'red' }, 'colour'],
    ['with the namespace in its body', { type: 'gc.collect', subject: 'node', namespace: 'n' }, 'namespace'],
    ['of an unknown type', { type: 'container.fly', subject: 'c1' }, 'type'],
    ['of a type that every object has', { type: 'constructor', subject: 'c1' }, 'type'],
    ['without its subject', { type: 'container.stop' }, 'subject'],
    ['with a malformed subject', { type: 'container.stop', subject: '../c1' }, 'subject'],
    ['with a subject of another type', { type: 'container.stop', subject: 7 }, 'subject'],
    ['with a malformed digest', { type: 'content.delete', subject: 'sha256:xyz' }, 'subject'],
    [
      'with an unknown field deep down',
      { type: 'container.run', payload: { image: 'b', options: { x: 1 } } },
      'payload.options.x',
    ],
    ['without what it needs', { type: 'container.run', payload: {} }, 'payload.image'],
    ['with a payload that is text', { type: 'gc.collect', subject: 'node', payload: 'x' }, 'payload'],
    ['with a priority of 0', { type: 'gc.collect', subject: 'node', priority: 0 }, 'priority'],
    ['with a deadline that is no time', { type: 'gc.collect', subject: 'node', deadline: 'soon' }, 'deadline'],
  ]
  for (const [what, body, field] of fields) {
    test(`a command ${what} is refused, naming ${field || 'the request'}`, async () => {
      const head = api.log.head
      const problem = problemIn(await post(typeof body === 'string' ? JSON.stringify(body) : body))
      assert.equal(problem.status, 400)
      assert.equal(problem.code, 'invalid_argument')
      assert.equal(problem.field, field)
      assert.ok(problem.remedy)
      assert.equal(api.log.head, head)
    })
  }

  test('an unknown command type is told which there are', async () => {
    assert.match(
      problemIn(await post({ type: 'container.fly', subject: 'c1' })).remedy ?? '',
      /container\.run.*task\.kill/,
    )
  })

  test('a path that is not served is a 404 of every method', async () => {
    for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'PROPFIND']) {
      for (const path of ['/', '/v1', '/v2/info', '/v1/containers/a/b', '/v1/info/', '//v1/info']) {
        const problem = problemIn(await api.http(method, path))
        assert.equal(problem.status, 404, `${method} ${path}`)
        assert.equal(problem.code, 'not_found')
      }
    }
  })

  test('a method that a path does not have is a 405, with those that it has', async () => {
    for (const [method, path, allow] of [
      ['PUT', '/v1/commands', 'GET, POST'],
      ['PATCH', '/v1/commands/x', 'DELETE, GET'],
      ['POST', '/v1/containers', 'GET'],
      ['DELETE', '/v1/containers/c1', 'GET'],
      ['GET', '/v1/state/rebuild', 'POST'],
      ['OPTIONS', '/v1/events?follow', 'GET'],
      ['POST', '/v1/containers/c1/attach', 'GET'],
      ['PROPFIND', '/healthz', 'GET'],
    ] as const) {
      const answer = await api.http(method, path)
      assert.equal(answer.status, 405, `${method} ${path}`)
      assert.equal(answer.headers.allow, allow)
      problemIn(answer)
    }
  })

  test('a parameter that nobody knows is named, so is one of another form', async () => {
    for (const [path, field] of [
      ['/v1/containers?lable=x', 'lable'],
      ['/v1/info?x=1', 'x'],
      ['/v1/containers?limit=0', 'limit'],
      ['/v1/containers?limit=1001', 'limit'],
      ['/v1/containers?limit=1&limit=2', 'limit'],
      ['/v1/containers?label=', 'label.0'],
      ['/v1/containers?cursor=x', 'cursor'],
      ['/v1/containers?namespace=-', 'namespace'],
      ['/v1/content/sha256:x', 'digest'],
      ['/v1/images/UPPER', 'name'],
      ['/v1/namespaces/a..b', 'name'],
      ['/v1/events?since=yesterday', 'since'],
      ['/v1/events?until=yesterday', 'until'],
      ['/v1/events?follow=yes', 'follow'],
      ['/v1/events?command=c1', 'command.0'],
      ['/v1/audit?until=yesterday', 'until'],
    ] as const) {
      const problem = problemIn(await api.http('GET', path))
      assert.equal(problem.status, 400, path)
      assert.equal(problem.field, field, path)
    }
    const inHeader = problemIn(await api.http('GET', '/v1/containers', undefined, { 'purser-namespace': '../x' }))
    assert.equal(inHeader.field, 'Purser-Namespace')
  })

  test('a path that is not well-formed is a 400', async () => {
    for (const path of ['/v1/containers/%', '/v1/images/%ff', '/v1/containers/%zz/logs']) {
      assert.equal(problemIn(await api.http('GET', path)).status, 400, path)
    }
  })

  test('what is no HTTP is answered as a problem too, and headers without end are', async () => {
    for (const [sent, status] of [
      ['hello\r\n\r\n', 400],
      [`GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
    ] as const) {
      const socket = connect({ path: api.socketPath })
      socket.end(sent)
      const [head = '', body = ''] = (await text(socket)).split('\r\n\r\n')
      assert.match(head, new RegExp(`^HTTP/1.1 ${status} `))
      assert.match(head, /Content-Type: application\/problem\+json/)
      assert.equal(problemSchema.parse(JSON.parse(body)).status, status)
    }
  })

  const upgrade = async (path: string, protocol: string) => {
    const sent = request({
      socketPath: api.socketPath,
      path,
      agent: false,
      headers: {
        connection: 'Upgrade',
        upgrade: protocol,
        'sec-websocket-version': '13',
        'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      },
    })
    sent.end()
    const [response] = await once(sent, 'response')
    const body = await text(response)
    return { status: response.statusCode, headers: response.headers, text: body, json: JSON.parse(body) }
  }

  test('a client that offers HTTP/2, as Java does, is answered as if it had not', async () => {
    assert.equal((await upgrade('/healthz', 'h2c')).status, 200)
    assert.equal((await upgrade('/v1/containers/c1', 'h2c')).status, 404)
  })

  test('a WebSocket that is refused is a problem', async () => {
    for (const [path, status] of [
      ['/v1/containers/nosuch/attach', 404],
      ['/v1/containers/nosuch/execs/e/attach', 404],
      ['/v1/containers/%zz/attach', 400],
      ['/v1/containers/%ff/execs/%/attach', 400],
      ['/v1/containers/c1/attach?stdin=maybe', 400],
      ['/v1/containers/c1/attach?colour=red', 400],
      ['/v1/nosuch', 404],
      ['//', 404],
    ] as const) {
      assert.equal(problemIn(await upgrade(path, 'websocket')).status, status, path)
    }
  })

  test('a WebSocket endpoint without an upgrade says what it wants', async () => {
    const answer = await api.http('GET', '/v1/containers/c1/attach')
    assert.equal(problemIn(answer).status, 426)
    assert.equal(answer.headers.upgrade, 'websocket')
  })

  test('a client that keeps its side open after a refusal does not keep the server from stopping', async () => {
    await using own = await startApi()
    const socket = connect({ path: own.socketPath, allowHalfOpen: true })
    socket.write(
      'GET /v1/containers/c1/attach HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    )
    assert.match(await text(socket), /^HTTP\/1.1 404 /)
    await own.stop()
    socket.destroy()
  })
})
