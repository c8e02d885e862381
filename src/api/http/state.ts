import { z } from 'zod'
import type { Documents } from '../../log/documents.ts'
import { type Difference, differencesOf, documentsOf } from '../../projections/state-diff.ts'
import { defineRoute, type Resource } from './route.ts'
import { positionOfMoment } from './since.ts'

const text = z.string().min(1).max(4096).optional()
const moment = z.string().min(1).max(100).describe('a position, an RFC 3339 time or a duration (15m)')
const which = {
  aggregate: text.describe('container, task, image …; all but commands without it'),
  id: text,
}

const documentShape = z.strictObject({
  aggregate: z.string(),
  namespace: z.string(),
  id: z.string(),
  version: z.int().describe('position of the last event about it'),
  state: z.unknown(),
})

const stateAt = defineRoute({
  method: 'GET',
  path: '/v1/state',
  summary: 'The state of everything as it was at a moment, folded from the log',
  scope: 'namespace',
  query: z.strictObject({ at: moment.optional(), ...which }),
  answers: {
    200: {
      description: 'the documents',
      schema: z.strictObject({ position: z.int(), items: z.array(documentShape) }),
    },
  },
  async handle({ services: { log, books }, query: { at, ...filter }, namespaceAsked: namespace, signal }) {
    const position = at === undefined ? log.head : await positionOfMoment(log, at, 'at')
    const documents = await books.snapshots.at(log, position, signal)
    return { status: 200, body: { position, items: [...documentsOf(documents, { ...filter, namespace })] } }
  },
})

const difference = z.strictObject({
  aggregate: z.string(),
  namespace: z.string(),
  id: z.string(),
  change: z.enum(['added', 'removed', 'changed']),
  fields: z.array(z.strictObject({ path: z.string(), before: z.unknown().optional(), after: z.unknown().optional() })),
})

const diff = defineRoute({
  method: 'GET',
  path: '/v1/state/diff',
  summary: 'What changed between two moments',
  scope: 'namespace',
  query: z.strictObject({ from: moment, to: moment.optional(), ...which }),
  answers: {
    200: {
      description: 'the differences',
      schema: z.strictObject({ from: z.int(), to: z.int(), items: z.array(difference) }),
    },
  },
  async handle({ services: { log, books }, query, namespaceAsked: namespace, signal }) {
    const { from, to, ...filter } = query
    const begin = await positionOfMoment(log, from, 'from')
    const end = to === undefined ? log.head : await positionOfMoment(log, to, 'to')
    const states: Documents[] = []
    for (const position of [begin, end]) states.push(await books.snapshots.at(log, position, signal))
    const [before, after] = states.map((documents) => [...documentsOf(documents, { ...filter, namespace })])
    const items: Difference[] = differencesOf(before ?? [], after ?? [])
    return { status: 200, body: { from: begin, to: end, items } }
  },
})

export const states: Resource = { name: 'state', routes: [stateAt, diff] }
