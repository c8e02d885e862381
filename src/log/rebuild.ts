import type { Redis } from 'ioredis'
import type { AnyAggregate } from '../model/aggregate.ts'
import { PurserError } from '../model/errors.ts'
import { Documents } from './documents.ts'
import type { EventLog } from './event-log.ts'
import { CommandRetention } from './retention.ts'

export interface StateCheck {
  /** Position through which the log was folded. */
  through: number
  events: number
  /** Events among them that only a later release of Purser knows: what is folded lacks them. */
  unknown: number
  documents: number
  /** Documents that are stored otherwise than the log says. */
  differences: { aggregate: string; field: string; stored: string | undefined; folded: string | undefined }[]
}

const DIFFERENCES_MAX = 100

/**
 * Folds the whole log anew and compares the result with the documents in Redis, byte for byte.
 *
 * @param base what to fold onto, where the log has been cut at its beginning by retention
 * @param mode `repair` also writes what the log says over what is stored
 */
export async function rebuildState(
  log: EventLog,
  redis: Redis,
  aggregates: ReadonlyMap<string, AnyAggregate>,
  mode: 'check' | 'repair',
  base: Documents = new Documents(aggregates),
): Promise<StateCheck> {
  const folded = base
  const retention = new CommandRetention(folded, () => {})
  retention.loaded()
  let through = log.head
  // The log grows while it is folded: the comparison needs a moment when both stand at one position.
  for (let round = 0; ; round++) {
    for await (const event of log.read(folded.head, through)) {
      folded.apply(event)
      retention.applied(event)
    }
    const stored = await storedDocuments(redis, log, aggregates)
    if (stored.head === folded.head || round === 20) return await compare(folded, stored.byAggregate, log, redis, mode)
    through = stored.head
  }
}

/** Head and documents of one instant: MULTI runs without anything in between. */
async function storedDocuments(redis: Redis, log: EventLog, aggregates: ReadonlyMap<string, AnyAggregate>) {
  const names = [...aggregates.keys()]
  const multi = redis.multi().hget(log.keys.meta, 'head')
  for (const name of names) multi.hgetall(log.keys.documents(name))
  const replies = (await multi.exec()) ?? []
  const byAggregate = new Map<string, Record<string, string>>()
  names.forEach((name, index) => {
    byAggregate.set(name, (replies[index + 1]?.[1] ?? {}) as Record<string, string>)
  })
  return { head: Number(replies[0]?.[1] ?? 0), byAggregate }
}

async function compare(
  folded: Documents,
  stored: Map<string, Record<string, string>>,
  log: EventLog,
  redis: Redis,
  mode: 'check' | 'repair',
): Promise<StateCheck> {
  const check: StateCheck = {
    through: folded.head,
    events: folded.head,
    unknown: folded.skipped,
    documents: 0,
    differences: [],
  }
  for (const [aggregate, fields] of stored) {
    const left = new Set(Object.keys(fields))
    for (const [field, text] of folded.serialised(aggregate)) {
      check.documents += 1
      left.delete(field)
      if (fields[field] !== text) check.differences.push({ aggregate, field, stored: fields[field], folded: text })
    }
    for (const field of left) check.differences.push({ aggregate, field, stored: fields[field], folded: undefined })
  }
  if (mode === 'repair' && folded.skipped > 0) {
    throw new PurserError(
      'failed_precondition',
      `the log has ${folded.skipped} events that this version does not know`,
      {
        remedy: 'repair with the version of purser that wrote them, which folds all of them',
      },
    )
  }
  if (mode === 'repair') {
    for (const { aggregate, field, folded: text } of check.differences) {
      if (text === undefined) await redis.hdel(log.keys.documents(aggregate), field)
      else await redis.hset(log.keys.documents(aggregate), field, text)
    }
  }
  check.differences.splice(DIFFERENCES_MAX)
  return check
}
