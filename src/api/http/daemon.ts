import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import { PurserError } from '../../model/errors.ts'
import { defineRoute, noQuery, type Resource } from './route.ts'

/** Redis answers within this, or the daemon is not ready. */
const READY_WITHIN_MS = 2000

const healthz = defineRoute({
  method: 'GET',
  path: '/healthz',
  summary: 'Whether the process answers',
  scope: 'node',
  query: noQuery,
  answers: { 200: { description: 'it does', schema: z.strictObject({ status: z.literal('ok') }) } },
  handle: async () => ({ status: 200, body: { status: 'ok' } }),
})

const readyz = defineRoute({
  method: 'GET',
  path: '/readyz',
  summary: 'Whether commands are taken: Redis answers and the log is caught up',
  scope: 'node',
  query: noQuery,
  answers: {
    200: { description: 'they are', schema: z.strictObject({ status: z.literal('ready') }) },
    503: { description: 'they are not; the detail says why' },
  },
  async handle({ services }) {
    const late = new AbortController()
    const reasons = await Promise.race([
      services.notReady(),
      delay(READY_WITHIN_MS, ['Redis does not answer'], { signal: late.signal, ref: false }),
    ]).finally(() => late.abort())
    if (reasons.length === 0) return { status: 200, body: { status: 'ready' } }
    throw new PurserError('unavailable', `not ready: ${reasons.join('; ')}`, {
      remedy: "try again shortly; the daemon's log says more",
    })
  },
})

/** @see prometheus.io, "Exposition formats"; OpenMetrics 1.0 */
export const METRICS_TYPES = {
  prometheus: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
} as const
export type MetricsFormat = keyof typeof METRICS_TYPES

/** What a scraper accepts: it names OpenMetrics, or is taken to know the older one only. */
export const metricsFormat = (accept: string | undefined): MetricsFormat =>
  accept?.includes('application/openmetrics-text') ? 'openmetrics' : 'prometheus'

const metrics = defineRoute({
  method: 'GET',
  path: '/metrics',
  summary: 'Metrics in the text format of Prometheus, or of OpenMetrics with exemplars where that is accepted',
  scope: 'node',
  query: noQuery,
  answers: { 200: { description: 'the metrics', mediaTypes: ['text/plain', 'application/openmetrics-text'] } },
  async handle({ services, header }) {
    const format = metricsFormat(header('accept'))
    return {
      status: 200,
      body: await services.metrics(format),
      headers: { 'content-type': METRICS_TYPES[format] },
    }
  },
})

const version = defineRoute({
  method: 'GET',
  path: '/v1/version',
  summary: 'Which version of Purser serves which node',
  scope: 'node',
  query: noQuery,
  answers: {
    200: {
      description: 'the version',
      schema: z.strictObject({
        name: z.literal('purser'),
        version: z.string(),
        node: z.string().describe('name of the node'),
        runtime: z.string().describe('what it runs on'),
      }),
    },
  },
  handle: async ({ services }) => ({
    status: 200,
    body: { name: 'purser', version: services.version, node: services.node, runtime: `node ${process.version}` },
  }),
})

const info = defineRoute({
  method: 'GET',
  path: '/v1/info',
  summary: 'What the daemon has and how it is set up',
  scope: 'node',
  query: noQuery,
  answers: { 200: { description: 'the facts', schema: z.record(z.string(), z.unknown()) } },
  handle: async ({ services }) => ({ status: 200, body: await services.info() }),
})

const rebuild = defineRoute({
  method: 'POST',
  path: '/v1/state/rebuild',
  summary: 'Folds the whole log anew and compares the result with what is stored',
  scope: 'node',
  query: z.strictObject({
    mode: z.enum(['check', 'repair']).default('check').describe('repair: write what the log says'),
  }),
  answers: {
    200: {
      description: 'what was found',
      schema: z.strictObject({
        through: z.int().nonnegative().describe('position through which the log was folded'),
        events: z.int().nonnegative(),
        unknown: z.int().nonnegative().describe('events that only a later release knows, and that were left out'),
        documents: z.int().nonnegative(),
        differences: z.array(
          z.strictObject({
            aggregate: z.string(),
            field: z.string(),
            stored: z.string().optional(),
            folded: z.string().optional(),
          }),
        ),
      }),
    },
  },
  handle: async ({ services, query }) => ({ status: 200, body: await services.rebuild(query.mode) }),
})

export const daemon: Resource = { name: 'daemon', routes: [healthz, readyz, metrics, version, info, rebuild] }
