import { z } from 'zod'
import { defineAggregate } from '../model/aggregate.ts'
import { event } from '../model/event-schema.ts'

export type CollectionState =
  | { status: 'never' }
  | { status: 'collected'; at: string; contentCount: number; snapshotCount: number; freedBytes: number }

const never = { status: 'never' } as CollectionState

/** Garbage collection of the node; its one id is `node`. */
export const collection = defineAggregate({
  name: 'gc',
  id: z.literal('node', 'the subject of gc commands is "node"'),
  initial: never,
  commands: {
    'gc.collect': z
      .strictObject({
        mode: z.enum(['remove', 'dry-run']).default('remove').describe('dry-run: only say what would go'),
      })
      .describe(
        'remove content and snapshots that nothing refers to, and what networks keep for containers that are gone',
      ),
  },
  leadsTo: {
    'gc.collect': [
      'gc.collecting',
      'content.deleted',
      'snapshot.committed',
      'snapshot.removing',
      'snapshot.removed',
      'gc.collected',
    ],
  },
  events: {
    'gc.collecting': event(1, 'a collection has begun', z.strictObject({ mode: z.string() })),
    'gc.collected': event(
      2,
      'a collection is over; what it freed',
      z.strictObject({
        contentCount: z.int().nonnegative(),
        snapshotCount: z.int().nonnegative(),
        networkCount: z
          .int()
          .nonnegative()
          .describe('attachments, namespaces and addresses of containers that are gone'),
        freedBytes: z.int().nonnegative(),
        durationMs: z.number().nonnegative(),
      }),
      (data) => ({ ...data, networkCount: 0 }), // Version 2 knows of networks.
    ),
  },
  decide(_state, { payload }) {
    return [{ type: 'gc.collecting', data: { mode: payload.mode } }]
  },
  evolve(state, event): CollectionState {
    if (event.type === 'gc.collecting') return state
    const { contentCount, snapshotCount, freedBytes } = event.data
    return { status: 'collected', at: event.time, contentCount, snapshotCount, freedBytes }
  },
})
