import { containerId } from './container-id.ts'
import { defineRoute, noQuery, type Resource } from './route.ts'
import { streamPieces } from './stream-pieces.ts'

/** Checkpoints on their way out; on their way in they are an ingest and `container.restore`. */
export const checkpoints: Resource = {
  name: 'checkpoints',
  routes: [
    defineRoute({
      method: 'GET',
      path: '/v1/containers/{id}/checkpoints/{name}/archive',
      summary: 'A checkpoint with the files of its container, signed by this node; container.restore takes it',
      scope: 'namespace',
      query: noQuery,
      streams: 'always',
      answers: { 200: { description: 'the tar', mediaTypes: ['application/x-tar'] } },
      handle(call) {
        const { services, namespace, params, signal } = call
        const id = containerId(call, params.id)
        return streamPieces(call, 'application/x-tar', services.checkpoints.read(namespace, id, params.name, signal))
      },
    }),
  ],
}
