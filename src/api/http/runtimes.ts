import { z } from 'zod'
import { defineRoute, noQuery, type Resource } from './route.ts'

const taskApi = z.union([z.literal(2), z.literal(3)])

const runtimeSchema = z.strictObject({
  name: z.string(),
  isDefault: z.boolean().describe('whether containers get it for which none is named'),
  type: z.string().optional().describe('as containerd names it'),
  shim: z.string().optional().describe('path of its shim'),
  shimVersion: z.string().optional(),
  binary: z.string().optional().describe('path of the OCI runtime below the runc shim'),
  version: z.string().optional().describe('of that, as it says itself'),
  package: z.string().optional().describe("version of the distributor's package that it is from"),
  taskApi: taskApi.optional().describe("version of containerd's task API; of other shims it is known once one has run"),
  features: z.array(z.string()).describe('what the OCI runtime says that it can'),
  verdict: z
    .enum(['ok', 'warned', 'refused', 'missing'])
    .describe('warned: it is used, though the reasons stand against it; refused, missing: no container starts with it'),
  reasons: z.array(z.string()),
  remedy: z.string().optional(),
})

const trial = z.strictObject({
  protocol: z.enum(['ttrpc', 'grpc']),
  taskApi,
  shimPid: z.int(),
  answeredMs: z.int().nonnegative().describe('milliseconds from the start of a shim to its first answer'),
})

const checkpoints = z.discriminatedUnion('works', [
  z.strictObject({ works: z.literal(true), criu: z.string().describe('path of CRIU'), version: z.string() }),
  z.strictObject({
    works: z.literal(false),
    obstacle: z.enum(['runtime', 'criu', 'kernel']).describe('what is in the way'),
    reason: z.string(),
    remedy: z.string(),
  }),
])

/** What containers are run with. */
export const runtimes: Resource = {
  name: 'runtimes',
  routes: [
    defineRoute({
      method: 'GET',
      path: '/v1/runtimes',
      summary: 'The runtimes by name, and whether containers are started with them',
      scope: 'node',
      query: noQuery,
      answers: { 200: { description: 'all of them', schema: z.strictObject({ items: z.array(runtimeSchema) }) } },
      handle: async ({ services }) => ({ status: 200, body: { items: await services.runtimes.list() } }),
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/runtimes/{name}/check',
      summary: 'Judges a runtime and starts a shim of it, which is ended again; its name is percent-encoded',
      scope: 'node',
      query: noQuery,
      answers: {
        200: {
          description: 'what it is',
          schema: runtimeSchema.extend({ trial: trial.optional(), checkpoints: checkpoints.optional() }),
        },
        400: { description: 'no such runtime' },
      },
      handle: async ({ services, params, signal }) => ({
        status: 200,
        body: await services.runtimes.check(params.name, signal),
      }),
    }),
  ],
}
