import { z } from 'zod'
import { defineAggregate, refuse, type View } from '../model/aggregate.ts'
import { event } from '../model/event-schema.ts'
import { identifier } from '../model/ids.ts'
import { type Labels, labels } from '../model/labels.ts'
import { container } from './container.ts'
import { image } from './image.ts'
import { jobs } from './job.ts'
import { network } from './network.ts'
import { sandboxes } from './sandbox-record.ts'
import { snapshot } from './snapshot.ts'

export type NamespaceState = { status: 'absent' } | { status: 'present'; labels: Labels; createdAt: string }

/** containerd's namespaces: each has its own images, containers, snapshots and content records. */
export const namespace = defineAggregate({
  name: 'namespace',
  id: identifier,
  initial: { status: 'absent' } as NamespaceState,
  commands: {
    'namespace.create': z.strictObject({ labels: labels.default({}) }).describe('make a namespace'),
    'namespace.remove': z.strictObject({}).describe('remove an empty namespace'),
  },
  leadsTo: { 'namespace.create': ['namespace.created'], 'namespace.remove': ['namespace.removed'] },
  events: {
    'namespace.created': event(1, 'a namespace is there', z.strictObject({ labels })),
    'namespace.removed': event(1, 'an empty namespace is gone', z.strictObject({})),
  },
  decide(state, { type, subject, payload }, view) {
    switch (type) {
      case 'namespace.create':
        if (state.status === 'absent') return [{ type: 'namespace.created', data: payload }]
        return refuse('already_exists', `namespace ${subject} exists`, 'choose another name')
      case 'namespace.remove': {
        if (state.status === 'absent')
          return refuse('not_found', `namespace ${subject} is not known`, 'purser namespace ls')
        const held = holds(view, subject)
        if (held) return refuse('failed_precondition', `namespace ${subject} still has ${held}`, 'remove them first')
        return [{ type: 'namespace.removed', data: {} }]
      }
    }
  },
  evolve(_state, event): NamespaceState {
    switch (event.type) {
      case 'namespace.created':
        return { status: 'present', labels: event.data.labels, createdAt: event.time }
      case 'namespace.removed':
        return namespace.initial
    }
  },
})

function holds(view: View, name: string): string | undefined {
  const counts = [
    ['containers', [...view.list(container, name)].length],
    ['images', [...view.list(image, name)].length],
    ['snapshots', [...view.list(snapshot, name)].length],
    ['networks', [...view.list(network, name)].length],
    ['sandboxes', [...view.list(sandboxes, name)].length],
    ['jobs', [...view.list(jobs, name)].length],
  ] as const
  const held = counts.filter(([, count]) => count > 0).map(([what, count]) => `${count} ${what}`)
  return held.length > 0 ? held.join(', ') : undefined
}
