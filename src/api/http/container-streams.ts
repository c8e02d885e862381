import { z } from 'zod'
import { container } from '../../commands/container.ts'
import { attachSession } from './attach-session.ts'
import { containerId } from './container-id.ts'
import { exitAndRemoval, exitOfExec, exitOfTask, taskOf } from './exits.ts'
import { type Call, defineRoute, defineSocket, flag, noQuery, type Resource } from './route.ts'
import { exitSchema } from './schemas.ts'
import { momentOf } from './since.ts'

const logs = defineRoute({
  method: 'GET',
  path: '/v1/containers/{id}/logs',
  summary: 'What a container wrote, as lines in CRI log format: TIME STREAM F|P TEXT',
  scope: 'namespace',
  query: z.strictObject({
    follow: flag.describe('whether to go on until the task has exited'),
    tail: z.coerce
      .number()
      .int()
      .min(0)
      .max(2 ** 31)
      .optional()
      .describe('of what is there, the last lines'),
    since: z.string().max(100).optional().describe('an RFC 3339 time, or a duration (15m)'),
    until: z.string().max(100).optional().describe('written as since is: lines before it'),
  }),
  streams: 'always',
  answers: { 200: { description: 'the lines', mediaTypes: ['text/plain'] } },
  async handle(call) {
    const { services, namespace, query, signal } = call
    const id = containerId(call, call.params.id)
    const options = {
      follow: query.follow,
      ...(query.tail === undefined ? {} : { tailLines: query.tail }),
      ...(query.since === undefined ? {} : { since: new Date(momentOf(query.since, Date.now())) }),
      ...(query.until === undefined ? {} : { until: new Date(momentOf(query.until, Date.now(), 'until')) }),
    }
    const chunks = services.streams.logs(namespace, id, options, signal)[Symbol.asyncIterator]()
    try {
      // What cannot be read at all is answered as a problem; a follower hears at once that there is nothing yet.
      const first = query.follow ? undefined : await chunks.next()
      const stream = call.stream('text/plain; charset=utf-8')
      for (let next = first ?? (await chunks.next()); !next.done; next = await chunks.next()) {
        await stream.write(next.value)
      }
      stream.end()
      return 'streamed'
    } finally {
      await chunks.return?.()
    }
  },
})

const wait = defineRoute({
  method: 'GET',
  path: '/v1/containers/{id}/wait',
  summary: "Waits for the exit of a container's present or last task",
  scope: 'namespace',
  query: noQuery,
  streams: 'always',
  answers: { 200: { description: 'how it ended', schema: exitSchema } },
  async handle(call) {
    const id = containerId(call, call.params.id)
    return { status: 200, body: await exitOfTask(call.services.log, call.namespace, id, call.signal) }
  },
})

const attach = defineSocket({
  path: '/v1/containers/{id}/attach',
  summary: "The streams of a container's process; messages as docs/http.md describes them",
  scope: 'namespace',
  query: z.strictObject({
    stdin: flag.describe('whether this client writes to the process'),
    replay: flag.describe('whether output starts with what is in the log'),
    positions: flag.describe('whether it is told, on channel 5, where what comes next begins'),
    from: z.string().max(100).optional().describe('a position that was told: output starts there'),
    wait: flag.describe('whether to wait for the container and its task'),
    removal: flag.describe('with wait: whether the exit is told only when a container that goes on its exit has gone'),
    command: z.uuid().optional().describe('with wait: the command that starts the task which is meant'),
  }),
  async open(call) {
    const { services, namespace, query, signal } = call
    const { log, streams } = services
    const id = query.wait && !isThere(call, call.params.id) ? call.params.id : containerId(call, call.params.id)
    const replay = query.from === undefined ? (query.replay ? 'all' : 'none') : { from: query.from }
    if (!query.wait) {
      const attachment = await streams.attach(namespace, id, { replay }, signal)
      return attachSession(call, () => [attachment, exitOfTask(log, namespace, id, signal)])
    }
    return attachSession(call, async () => {
      await taskOf(log, namespace, id, signal, query.command)
      // Before anything is awaited: a container that is removed on its exit leaves only the event.
      const exit = (query.removal ? exitAndRemoval : exitOfTask)(log, namespace, id, signal)
      exit.catch(() => {}) // The session hears of it.
      return [await streams.attach(namespace, id, { replay }, signal), exit]
    })
  },
})

const attachExec = defineSocket({
  path: '/v1/containers/{id}/execs/{execId}/attach',
  summary: 'The streams of an exec, its output from the start',
  scope: 'namespace',
  query: z.strictObject({ stdin: flag.describe('whether this client writes to the process') }),
  async open(call) {
    const { services, namespace, params, signal } = call
    const id = containerId(call, params.id)
    const exit = exitOfExec(services.log, namespace, id, params.execId, signal)
    exit.catch(() => {}) // The session hears of it.
    const options = { execId: params.execId, replay: 'all' } as const
    const attachment = await services.streams.attach(namespace, id, options, signal)
    return attachSession(call, () => [attachment, exit])
  },
})

/** Whether a container has exactly this id. */
const isThere = ({ services, namespace }: Call, id: string): boolean =>
  services.log.documents.read(container.name, namespace, id).version > 0

export const containerStreams: Resource = {
  name: 'container-streams',
  routes: [logs, wait],
  sockets: [attach, attachExec],
}
