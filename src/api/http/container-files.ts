import { z } from 'zod'
import { containerId } from './container-id.ts'
import { defineRoute, flag, type Resource } from './route.ts'
import { streamPieces } from './stream-pieces.ts'

const query = z.strictObject({
  path: z.string().max(4096).describe('in the container, from its root'),
  follow: flag.describe('whether a symlink at the end is followed, instead of meant itself'),
})

const statusSchema = z.strictObject({
  type: z.enum(['file', 'directory', 'symlink', 'char', 'block', 'fifo', 'socket']),
  mode: z.int().describe('permissions with setuid, setgid and sticky'),
  uid: z.int(),
  gid: z.int(),
  sizeBytes: z.int(),
  modifiedAt: z.iso.datetime(),
  target: z.string().optional().describe('of a symlink'),
})

/** Files of containers on their way out; on their way in they are an ingest and `container.copy`. */
export const containerFiles: Resource = {
  name: 'container-files',
  routes: [
    defineRoute({
      method: 'GET',
      path: '/v1/containers/{id}/stat',
      summary: 'What is at a path in a container, running or not',
      scope: 'namespace',
      query,
      answers: { 200: { description: 'what it is', schema: statusSchema } },
      async handle(call) {
        const { services, namespace, signal } = call
        const last = call.query.follow ? 'follow' : 'itself'
        const id = containerId(call, call.params.id)
        return { status: 200, body: await services.files.status(namespace, id, call.query.path, last, signal) }
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/containers/{id}/archive',
      summary: 'A file or directory of a container, running or not, as a tar; of a path that ends in /. what is in it',
      scope: 'namespace',
      query,
      streams: 'always',
      answers: { 200: { description: 'the tar', mediaTypes: ['application/x-tar'] } },
      async handle(call) {
        const { services, namespace, signal } = call
        const last = call.query.follow ? 'follow' : 'itself'
        const id = containerId(call, call.params.id)
        const bytes = services.files.read(namespace, id, call.query.path, last, signal)
        return await streamPieces(call, 'application/x-tar', bytes)
      },
    }),
  ],
}
