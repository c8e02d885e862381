import { z } from 'zod'
import { PurserError } from '../../model/errors.ts'
import { defineRoute, noQuery, type Resource } from './route.ts'

const status = z.strictObject({
  name: z.string(),
  schema: z.int(),
  status: z.enum(['running', 'rebuilding', 'stopped']),
  checkpoint: z.int().describe('position of the last event that is folded in'),
  lag: z.int().describe('events from there to the head of the log'),
  failure: z.strictObject({ position: z.int(), message: z.string() }).optional(),
})

const list = defineRoute({
  method: 'GET',
  path: '/v1/projections',
  summary: 'The stored projections, and how far each has folded the log',
  scope: 'node',
  query: noQuery,
  answers: { 200: { description: 'all of them', schema: z.strictObject({ items: z.array(status) }) } },
  handle: async ({ services }) => ({
    status: 200,
    body: { items: Object.values(services.projections).map((runner) => runner.status) },
  }),
})

const rebuild = defineRoute({
  method: 'POST',
  path: '/v1/projections/{name}/rebuild',
  summary: 'Folds the whole log into a new store, which then takes the place of the old one; reads go on meanwhile',
  scope: 'node',
  query: noQuery,
  answers: { 200: { description: 'rebuilt', schema: status } },
  async handle({ services: { projections }, params: { name } }) {
    const runner = Object.values(projections).find(({ projection }) => projection.name === name)
    if (runner === undefined)
      throw new PurserError('not_found', `there is no projection ${JSON.stringify(name.slice(0, 100))}`, {
        remedy: 'purser projection ls',
      })
    await runner.rebuild()
    return { status: 200, body: runner.status }
  },
})

export const projectionStatus: Resource = { name: 'projections', routes: [list, rebuild] }
