import { z } from 'zod'
import { containerId } from './container-id.ts'
import { defineRoute, noQuery, type Resource } from './route.ts'
import { momentOf } from './since.ts'

const processSchema = z.strictObject({
  pid: z.int().describe('as the host has it'),
  ppid: z.int(),
  uid: z.int(),
  user: z.string().describe('of the host'),
  state: z.string(),
  tty: z.string(),
  cpuMs: z.number(),
  cpuPercent: z.number().describe('of one CPU, since it began'),
  startedAt: z.iso.datetime(),
  virtualBytes: z.number(),
  residentBytes: z.number(),
  command: z.string(),
  args: z.string(),
})

const stall = z.strictObject({ avg10: z.number(), avg60: z.number(), avg300: z.number(), totalUs: z.number() })
const stalls = z.strictObject({ some: stall, full: stall.optional() }).optional()
const pressure = z
  .strictObject({ cpu: stalls, memory: stalls, io: stalls })
  .optional()
  .describe('shares of the time, in percent, in which some or all of its processes waited; where the kernel tells it')

const usage = {
  time: z.iso.datetime(),
  cpuNs: z.number().describe('since it began'),
  memoryBytes: z.number(),
  memoryWorkingSetBytes: z.number().describe('less the page cache that the kernel takes back at need'),
  memoryLimitBytes: z.number().optional().describe('none without a limit'),
  pids: z.number(),
  pidsMax: z.number().optional(),
  oomKills: z.number(),
  readBytes: z.number().describe('from block devices'),
  writtenBytes: z.number(),
  receivedBytes: z.number().describe('through its network interfaces'),
  sentBytes: z.number(),
}

const metricsSchema = z.strictObject({
  type: z.string().describe('io.containerd.cgroups.v1.Metrics or v2.Metrics'),
  data: z.unknown().describe('its fields, in the JSON form of protobuf'),
})

/** What containers do and use. */
export const containerActivity: Resource = {
  name: 'container-activity',
  routes: [
    defineRoute({
      method: 'GET',
      path: '/v1/containers/{id}/processes',
      summary: "The processes in a container's cgroup",
      scope: 'namespace',
      query: noQuery,
      answers: {
        200: { description: 'in the order of pids', schema: z.strictObject({ items: z.array(processSchema) }) },
      },
      async handle(call) {
        const id = containerId(call, call.params.id)
        return { status: 200, body: { items: await call.services.activity.processes(call.namespace, id, call.signal) } }
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/containers/{id}/stats',
      summary: "What a container uses now, also in the fields of containerd's metrics",
      scope: 'namespace',
      query: noQuery,
      answers: { 200: { description: 'now', schema: z.strictObject({ ...usage, pressure, metrics: metricsSchema }) } },
      async handle(call) {
        const id = containerId(call, call.params.id)
        return { status: 200, body: await call.services.activity.usage(call.namespace, id, call.signal) }
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/containers/{id}/stats/recent',
      summary: 'What a container has used lately: samples that the daemon keeps in memory',
      scope: 'namespace',
      query: z.strictObject({
        since: z.string().max(100).default('30m').describe('an RFC 3339 time, or a duration (15m)'),
      }),
      answers: {
        200: { description: 'oldest first', schema: z.strictObject({ items: z.array(z.strictObject(usage)) }) },
      },
      async handle(call) {
        const id = containerId(call, call.params.id)
        const sinceMs = momentOf(call.query.since, Date.now())
        return { status: 200, body: { items: call.services.activity.recentUsage(call.namespace, id, sinceMs) } }
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/stats',
      summary: 'What all running containers use now',
      scope: 'namespace',
      query: noQuery,
      answers: {
        200: {
          description: 'in the order of ids',
          schema: z.strictObject({ items: z.array(z.strictObject({ id: z.string(), ...usage, pressure })) }),
        },
      },
      async handle({ services, namespace, signal }) {
        return { status: 200, body: { items: await services.activity.usageOfAll(namespace, signal) } }
      },
    }),
  ],
}
