import { z } from 'zod'
import { type PoolState, pool } from '../../commands/pool.ts'
import { membersOf } from '../../commands/pool-member.ts'
import type { Entry } from '../../model/aggregate.ts'
import { PurserError } from '../../model/errors.ts'
import { parse } from '../../model/parse.ts'
import { poolView } from '../../projections/views.ts'
import { keyOfCursor, pageOf, paging } from './pages.ts'
import { type Call, defineRoute, noQuery, type Resource } from './route.ts'
import * as schemas from './schemas.ts'
import { firstFrom } from './sorted-ids.ts'

/** The body of a claim: of `pool.claim`, and how long it may take. */
const claimBody = pool.commands['pool.claim'].extend({
  deadline: z.iso.datetime().optional().describe('RFC 3339, UTC: given up then; with whenEmpty wait, how long to wait'),
})

const claimedSchema = z.strictObject({
  id: z.string().describe('the container that is the caller’s until it is released'),
  pool: z.string(),
  start: z.enum(['warm', 'cold']),
  waitedMs: z.number().describe('milliseconds from the beginning of the claim until the task was there'),
  command: z.string().describe('the id of the claim'),
})

const claimedResult = claimedSchema.omit({ pool: true, command: true })

function viewOf({ services: { log }, namespace }: Call, name: string): ReturnType<typeof poolView> | undefined {
  const { version, state } = log.documents.read(pool.name, namespace, name)
  if (version === 0) return undefined
  const entry = { namespace, id: name, version, state } as Entry<Exclude<PoolState, { status: 'absent' }>>
  return poolView(entry, membersOf(log.documents, namespace, name))
}

export const warmPools: Resource = {
  name: 'pools',
  routes: [
    defineRoute({
      method: 'GET',
      path: '/v1/pools',
      summary: 'Pools of warm tasks, in the order of names',
      scope: 'namespace',
      query: z.strictObject(paging),
      answers: { 200: { description: 'a page', schema: schemas.pageOf(schemas.poolSchema) } },
      async handle(call) {
        const all = call.ids.of(pool.name, call.namespace)
        const from = call.query.cursor === undefined ? 0 : firstFrom(all, `${keyOfCursor(call.query.cursor)}\0`)
        return { status: 200, body: pageOf(all.slice(from), call.query.limit, (name) => viewOf(call, name)) }
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/pools/{name}',
      summary: 'A pool, with its tasks',
      scope: 'namespace',
      query: noQuery,
      answers: { 200: { description: 'the pool', schema: schemas.poolSchema } },
      async handle(call) {
        const body = viewOf(call, parse(pool.id, call.params.name, 'name'))
        if (body) return { status: 200, body }
        throw new PurserError('not_found', `pool ${call.params.name} is not in namespace ${call.namespace}`, {
          remedy: 'purser pool ls',
        })
      },
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/pools/{name}/claim',
      summary: 'Takes a warm task, and answers when it is the caller’s; the body may be {}',
      scope: 'namespace',
      query: noQuery,
      body: claimBody,
      headers: { 'Idempotency-Key': 'a repeated key answers for the claim of then; 255 characters at most' },
      answers: { 200: { description: 'the task', schema: claimedSchema } },
      async handle(call) {
        const name = parse(pool.id, call.params.name, 'name')
        const { deadline, ...payload } = call.body
        const idempotencyKey = call.header('idempotency-key')
        const ended = await call.services.intake.execute(
          {
            type: 'pool.claim',
            subject: name,
            namespace: call.namespace,
            payload,
            ...(deadline === undefined ? {} : { deadline }),
            ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
            ...(call.traceparent === undefined ? {} : { traceparent: call.traceparent }),
          },
          { actor: call.actor, surface: 'http' },
          call.signal,
        )
        if (ended.status !== 'succeeded') throw PurserError.fromBody(ended.error)
        const { id, start, waitedMs } = claimedResult.parse(ended.result)
        return { status: 200, body: { id, pool: name, start, waitedMs, command: ended.command.id } }
      },
    }),
  ],
}
