import { z } from 'zod'
import { durationMs } from '../../model/duration-form.ts'
import { PurserError } from '../../model/errors.ts'
import { reportSchema } from '../../projections/sli/report.ts'
import { defineRoute, type Resource } from './route.ts'
import { timeOfMoment } from './since.ts'

const WINDOW_MS_MAX = 366 * 24 * 3600 * 1000

const indicators = defineRoute({
  method: 'GET',
  path: '/v1/sli',
  summary:
    'Service level indicators: target, actual, error budget left and burn rates; of the node unless a namespace is named',
  scope: 'namespace',
  query: z.strictObject({
    window: z.string().max(40).default('30d').describe('how far back it looks: 30d'),
    at: z
      .string()
      .min(1)
      .max(100)
      .optional()
      .describe('a position, an RFC 3339 time or a duration (15m); now without it'),
  }),
  answers: { 200: { description: 'the indicators', schema: reportSchema } },
  async handle({ services: { log, projections, slis }, query: { window, at }, namespaceAsked: namespace, signal }) {
    const windowMs = durationMs(window)
    if (windowMs === undefined || windowMs < 60_000 || windowMs > WINDOW_MS_MAX)
      throw new PurserError('invalid_argument', `window: ${JSON.stringify(window)} is no duration from 1m to 366d`, {
        field: 'window',
        remedy: 'write one such as 30d or 6h',
      })
    const atMs = at === undefined ? Date.now() : await timeOfMoment(log, at, 'at')
    await projections.sli.reaches(log.head, signal)
    return { status: 200, body: await slis.report({ atMs, windowMs, namespace }) }
  },
})

export const serviceLevels: Resource = { name: 'sli', routes: [indicators] }
