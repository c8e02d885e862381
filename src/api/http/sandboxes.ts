import { z } from 'zod'
import { sandbox } from '../../commands/sandbox.ts'
import { parse } from '../../model/parse.ts'
import { defineRoute, noQuery, type Resource } from './route.ts'

const told = z.strictObject({
  shimPid: z.int(),
  answeredMs: z.int().nonnegative().describe('milliseconds that its shim took to answer'),
  state: z.string().optional().describe("of one that its shim keeps, in that one's words"),
  info: z.record(z.string(), z.string()).optional(),
  platform: z.strictObject({ os: z.string(), architecture: z.string(), variant: z.string() }).optional(),
  metrics: z.strictObject({ type: z.string(), data: z.unknown() }).optional().describe("containerd's message, as JSON"),
})

/** Sandboxes as they are now; what is recorded of them is among the records. */
export const sandboxStatus: Resource = {
  name: 'sandboxes',
  routes: [
    defineRoute({
      method: 'GET',
      path: '/v1/sandboxes/{id}/status',
      summary: 'What the shim of a sandbox says of it now',
      scope: 'namespace',
      query: noQuery,
      answers: { 200: { description: 'what it says', schema: told } },
      handle: async ({ services, namespace, params, signal }) => ({
        status: 200,
        body: await services.sandboxes.ask(namespace, parse(sandbox.id, params.id, 'id'), signal),
      }),
    }),
  ],
}
