import { z } from 'zod'
import { defineRoute, noQuery, type Resource } from './route.ts'

const diagnosis = z.strictObject({
  namespace: z.string(),
  id: z.string(),
  runtime: z.string(),
  status: z.string().describe('of the task, as the log has it'),
  verdict: z
    .enum(['healthy', 'slow', 'unconnected', 'hung', 'stuck', 'held', 'inconsistent', 'lost'])
    .describe(
      'slow, hung: its shim is; unconnected: the daemon has no connection to it yet; stuck: nothing ends it; held: it has ended, and the host still has of it; inconsistent: log, shim and host do not agree; lost: there is no shim',
    ),
  findings: z.array(z.string()),
  remedy: z.string().optional(),
  shim: z.strictObject({
    pids: z.array(z.int()),
    processState: z.string().optional().describe('as ps has it: T is stopped, D hangs in the kernel'),
    connected: z.boolean().describe('whether the daemon is'),
    answeredMs: z.int().nonnegative().optional().describe('milliseconds; absent when it does not answer'),
    says: z.string().optional().describe('status of the task, as the shim has it'),
  }),
  process: z.strictObject({ pid: z.int().optional(), state: z.string().optional() }),
  cgroup: z.strictObject({ exists: z.boolean(), processes: z.int().nonnegative(), frozen: z.boolean() }),
  mounts: z.int().nonnegative().describe('beneath its bundle, as the daemon sees them'),
  fifos: z.enum(['present', 'missing']).describe('of its streams'),
})

/** Whether what the log says is so. */
export const doctor: Resource = {
  name: 'doctor',
  routes: [
    defineRoute({
      method: 'GET',
      path: '/v1/doctor/tasks',
      summary:
        'Asks the shim of each task, looks at the host, and compares both with the log; of all namespaces without one',
      scope: 'namespace',
      query: noQuery,
      answers: {
        200: {
          description: 'one for each task that has not ended and been removed',
          schema: z.strictObject({ items: z.array(diagnosis) }),
        },
      },
      handle: async ({ services, namespaceAsked, signal }) => ({
        status: 200,
        body: { items: await services.doctor.diagnose(namespaceAsked, signal) },
      }),
    }),
  ],
}
