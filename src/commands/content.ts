import { z } from 'zod'
import { defineAggregate, refuse } from '../model/aggregate.ts'
import { digestSchema } from '../model/digest.ts'
import { event } from '../model/event-schema.ts'
import { type Labels, labels } from '../model/labels.ts'

export type ContentState =
  | { status: 'absent' }
  | {
      status: 'present'
      sizeBytes: number
      mediaType: string
      labels: Labels
      createdAt: string
      /** The outermost command that brought it, or last relied on it: while that one runs, the blob is in use. */
      by: string
    }

/** A blob's record in a namespace; the bytes are shared by all namespaces that have one. */
export const content = defineAggregate({
  name: 'content',
  id: digestSchema,
  initial: { status: 'absent' } as ContentState,
  commands: { 'content.delete': z.strictObject({}).describe('remove a blob from the namespace') },
  leadsTo: { 'content.delete': ['content.deleted'] },
  events: {
    'content.committed': event(
      1,
      'a blob is stored, and its bytes have its digest',
      z.strictObject({ sizeBytes: z.int().nonnegative(), mediaType: z.string(), labels }),
    ),
    'content.deleted': event(1, 'a blob is gone from the namespace', z.strictObject({})),
  },
  decide(state, { subject }) {
    if (state.status === 'present') return [{ type: 'content.deleted', data: {} }]
    return refuse('not_found', `content ${subject} is not in this namespace`, 'purser info shows what is stored')
  },
  evolve(state, event): ContentState {
    switch (event.type) {
      case 'content.committed':
        if (state.status === 'present') return { ...state, by: event.correlationid }
        return { status: 'present', ...event.data, createdAt: event.time, by: event.correlationid }
      case 'content.deleted':
        return content.initial
    }
  },
})
