import { z } from 'zod'
import { formatVerifier } from '../../archive/note.ts'
import { consistencyProof, inclusionProof, proveConsistency, proveInclusion } from '../../archive/proofs.ts'
import { positionOfEvent } from '../../log/position.ts'
import { PurserError } from '../../model/errors.ts'
import { defineRoute, noQuery, type Resource } from './route.ts'

const position = z.int().nonnegative()

const status = defineRoute({
  method: 'GET',
  path: '/v1/log',
  summary: 'How far the log goes, and how much of it is sealed',
  scope: 'node',
  query: noQuery,
  answers: {
    200: {
      description: 'the state of the log',
      schema: z.strictObject({
        head: position.describe('of the last event'),
        sealed: position.describe('of the last event in the archive'),
        first: position.describe('of the first event that is kept'),
        segments: z.int().nonnegative(),
        bytes: z.int().nonnegative().describe('of the segments'),
        directory: z.string().describe('of the archive'),
        key: z.string().describe('verifier key, C2SP signed-note'),
        checkpoint: z.string().describe('signed head of the archive, C2SP checkpoint'),
        problem: z.string().optional().describe('why nothing is sealed'),
      }),
    },
  },
  async handle({ services: { log, books } }) {
    const { archive, sealer, verifier } = books
    const body = {
      head: log.head,
      sealed: archive.last,
      first: archive.first,
      segments: archive.segments.length,
      bytes: await archive.bytes(),
      directory: archive.paths.dir,
      key: formatVerifier(verifier),
      checkpoint: archive.checkpoint,
      ...(sealer.problem === undefined ? {} : { problem: sealer.problem.message }),
    }
    return { status: 200, body }
  },
})

const seal = defineRoute({
  method: 'POST',
  path: '/v1/log/seal',
  summary: 'Seals all events that are not in the archive yet',
  scope: 'node',
  query: noQuery,
  answers: {
    200: { description: 'sealed', schema: z.strictObject({ sealed: position, checkpoint: z.string() }) },
  },
  async handle({ services: { books } }) {
    const sealed = await books.sealer.seal()
    return { status: 200, body: { sealed, checkpoint: books.archive.checkpoint } }
  },
})

const checkTail = defineRoute({
  method: 'POST',
  path: '/v1/log/check-tail',
  summary: 'Compares the events in Redis that are not sealed with those that were appended',
  scope: 'node',
  query: noQuery,
  answers: {
    200: {
      description: 'they are the same',
      schema: z.strictObject({ events: z.int().nonnegative(), head: position }),
    },
  },
  async handle({ services: { log, books } }) {
    return { status: 200, body: { events: await books.sealer.checkTail(), head: log.head } }
  },
})

const checkpoint = defineRoute({
  method: 'GET',
  path: '/v1/log/checkpoint',
  summary: 'The signed head of the archive, a C2SP checkpoint',
  scope: 'node',
  query: noQuery,
  answers: { 200: { description: 'a signed note', mediaTypes: ['text/plain'] } },
  handle: async ({ services: { books } }) => ({
    status: 200,
    body: books.archive.checkpoint,
    headers: { 'content-type': 'text/plain; charset=utf-8' },
  }),
})

const prove = defineRoute({
  method: 'GET',
  path: '/v1/log/proofs/{event}',
  summary: 'Proves that an event, named by position or id, is in the log; seals it first where it is not',
  scope: 'node',
  query: noQuery,
  answers: { 200: { description: 'RFC 6962 inclusion proof', schema: inclusionProof } },
  async handle({ services: { log, books }, params: { event } }) {
    const at = await positionNamed(event, (id) => positionOfEvent(log, id))
    if (at > books.archive.last && at <= log.head) await books.sealer.seal()
    return { status: 200, body: await proveInclusion(books.archive, at) }
  },
})

async function positionNamed(event: string, find: (id: string) => Promise<number | undefined>): Promise<number> {
  if (/^[1-9]\d{0,14}$/.test(event)) return Number(event)
  if (!z.uuid().safeParse(event).success)
    throw new PurserError('invalid_argument', `${JSON.stringify(event.slice(0, 100))} names no event`, {
      remedy: 'give its position, or its id',
    })
  const found = await find(event)
  if (found !== undefined) return found
  throw new PurserError('not_found', `the log has no event with the id ${event}`, {
    remedy: 'see purser events --since 0',
  })
}

const consistency = defineRoute({
  method: 'POST',
  path: '/v1/log/consistency',
  summary: 'Proves that the log begins with the one that an older checkpoint is of',
  scope: 'node',
  query: noQuery,
  body: z.strictObject({ checkpoint: z.string().max(10_000).describe('the older checkpoint, as it was signed') }),
  answers: { 200: { description: 'RFC 6962 consistency proof', schema: consistencyProof } },
  async handle({ services: { books }, body }) {
    return { status: 200, body: await proveConsistency(books.archive, body.checkpoint, books.verifier) }
  },
})

export const logArchive: Resource = { name: 'log', routes: [status, seal, checkTail, checkpoint, prove, consistency] }
