import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import { problemOf } from '../../../src/api/http/problem.ts'
import { type RecordedRequests, RequestTrail } from '../../../src/api/http/request-trail.ts'
import { PurserError } from '../../../src/model/errors.ts'
import { startLog } from '../../support/log.ts'

const problem = (code: 'permission_denied' | 'invalid_argument' | 'not_found') =>
  problemOf(new PurserError(code, `it is ${code}`).toBody())

const requests = [
  { method: 'GET', target: '/v1/images', status: 200, problem: undefined },
  { method: 'GET', target: '/v1/images/none', status: 404, problem: problem('not_found') },
  { method: 'GET', target: '/v1/containers/c1/attach', status: 101, problem: undefined },
  { method: 'GET', target: '/v1/events', status: 403, problem: problem('permission_denied') },
  { method: 'POST', target: '/v1/commands', status: 403, problem: problem('permission_denied') },
  { method: 'POST', target: '/v1/commands', status: 400, problem: problem('invalid_argument') },
  { method: 'GET', target: '/metrics', status: 200, problem: undefined },
  { method: 'POST', target: '/v1/commands', status: 202, problem: undefined },
]

const reads = ['read GET /v1/images', 'read GET /v1/images/none', 'read GET /v1/containers/c1/attach']
const refusals = ['refused GET /v1/events', 'refused POST /v1/commands', 'refused POST /v1/commands']

for (const { which, expected } of [
  { which: { reads: true, refused: true }, expected: [...reads, ...refusals] },
  { which: { reads: true, refused: false }, expected: reads },
  { which: { reads: false, refused: true }, expected: refusals },
  { which: { reads: false, refused: false }, expected: [] },
] as { which: RecordedRequests; expected: string[] }[]) {
  test(`of requests, those are put on record that are asked for: ${JSON.stringify(which)}`, async () => {
    await using books = await startLog()
    const trail = new RequestTrail(books.log, which, pino({ level: 'silent' }))
    const actor = 'unix:uid=7,gid=7,pid=7,exe=/bin/x'
    for (const each of requests) trail.note({ actor, ...each })
    await trail.stop()
    const events = await books.events()
    assert.deepEqual(
      events.map(({ type, data }) => `${type.slice('request.'.length)} ${data.method} ${data.target}`),
      expected,
    )
    assert.ok(events.every((event) => event.actor === actor && event.data.surface === 'http'))
  })
}
