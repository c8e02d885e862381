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

/** Label of a blob: repositories of one registry that have it, separated by commas. @see containerd, labels.LabelDistributionSource */
const SOURCE_PREFIX = 'containerd.io/distribution.source.'
/** A label is 4096 bytes at most; the first repositories are as good as the last. */
const SOURCES_MAX = 8

/** The label of a blob that came from a repository. */
export const sourceLabels = ({ registry, repository }: { registry: string; repository: string }): Labels => ({
  [`${SOURCE_PREFIX}${registry}`]: repository,
})

/** The repositories that a blob is known to be in. */
export function sourcesOf(given: Labels): { registry: string; repository: string }[] {
  return Object.entries(given).flatMap(([key, value]) =>
    key.startsWith(SOURCE_PREFIX)
      ? value.split(',').map((repository) => ({ registry: key.slice(SOURCE_PREFIX.length), repository }))
      : [],
  )
}

/** Labels as they are, with the sources that have become known. */
function withSources(given: Labels, added: Labels): Labels {
  const merged = { ...given }
  for (const [key, value] of Object.entries(added)) {
    if (!key.startsWith(SOURCE_PREFIX)) continue
    const all = new Set([...(given[key]?.split(',') ?? []), ...value.split(',')])
    merged[key] = [...all].slice(0, SOURCES_MAX).join(',')
  }
  return merged
}

/** A blob's record in a namespace; the bytes are shared by all namespaces that have one. */
export const content = defineAggregate({
  name: 'content',
  id: digestSchema,
  initial: { status: 'absent' } as ContentState,
  commands: {
    'content.delete': z.strictObject({}).describe('remove a blob from the namespace'),
    'content.heal': z
      .strictObject({})
      .describe('hash a blob anew; one that is not as it should be is set aside and fetched from where it came from'),
  },
  leadsTo: {
    'content.delete': ['content.deleted'],
    'content.heal': ['content.corrupted', 'content.quarantined', 'content.healed'],
  },
  events: {
    'content.committed': event(
      1,
      'a blob is stored, and its bytes have its digest',
      z.strictObject({ sizeBytes: z.int().nonnegative(), mediaType: z.string(), labels }),
    ),
    'content.corrupted': event(
      1,
      'a blob on disk is not what its digest says',
      z.strictObject({ found: z.string().describe('its digest now, or why it has none') }),
    ),
    'content.quarantined': event(
      1,
      'the bytes that are not what their digest says are kept elsewhere',
      z.strictObject({ file: z.string().describe('name below ROOT/quarantine') }),
    ),
    'content.healed': event(
      1,
      'the blob is there again, fetched from where it came from',
      z.strictObject({ source: z.string(), sizeBytes: z.int().nonnegative() }),
    ),
    'content.deleted': event(1, 'a blob is gone from the namespace', z.strictObject({})),
  },
  decide(state, { type, subject }) {
    if (state.status === 'present') return type === 'content.heal' ? [] : [{ type: 'content.deleted', data: {} }]
    return refuse('not_found', `content ${subject} is not in this namespace`, 'purser info shows what is stored')
  },
  evolve(state, event): ContentState {
    switch (event.type) {
      case 'content.committed':
        if (state.status === 'present') {
          return { ...state, labels: withSources(state.labels, event.data.labels), by: event.correlationid }
        }
        return { status: 'present', ...event.data, createdAt: event.time, by: event.correlationid }
      case 'content.corrupted':
      case 'content.quarantined':
      case 'content.healed':
        return state
      case 'content.deleted':
        return content.initial
    }
  },
})
