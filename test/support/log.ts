import { Redis } from 'ioredis'
import { aggregates } from '../../src/commands/index.ts'
import { EventLog, type Sealed } from '../../src/log/event-log.ts'
import type { HeadWitness } from '../../src/log/head-witness.ts'
import { logKeys } from '../../src/log/keys.ts'
import type { AnyAggregate } from '../../src/model/aggregate.ts'
import type { StoredEvent } from '../../src/model/event.ts'
import { startTestRedis } from './redis.ts'

/** What a release of Purser knows. */
export type Release = ReadonlyMap<string, AnyAggregate>

/** An event log on a Redis of its own, and what tests ask of it. */
export async function startLog({
  sealed,
  witness,
  release = aggregates,
}: {
  sealed?: Sealed
  witness?: HeadWitness
  release?: Release
} = {}) {
  const server = await startTestRedis()
  const redis = new Redis(server.url)
  const keys = logKeys('test', server.keyPrefix || 'purser')
  const open = (by: Release = release) =>
    EventLog.open({
      redis,
      keys,
      node: 'test',
      aggregates: by,
      ...(sealed ? { sealed } : {}),
      ...(witness ? { witness } : {}),
    })
  const log = await open()
  return {
    log,
    redis,
    keys,
    server,
    /** A second daemon on the same books, of the same release or another. */
    open,
    async events(): Promise<StoredEvent[]> {
      const events: StoredEvent[] = []
      for await (const event of log.read(0)) events.push(event)
      return events
    },
    async [Symbol.asyncDispose]() {
      redis.disconnect()
      await server[Symbol.asyncDispose]()
    },
  }
}
