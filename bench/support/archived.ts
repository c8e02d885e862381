import type { Redis } from 'ioredis'
import type { Archive, Entry } from '../../src/archive/archive.ts'
import { lineOf } from '../../src/archive/lines.ts'
import { aggregates } from '../../src/commands/index.ts'
import { Documents } from '../../src/log/documents.ts'
import { envelopeOf } from '../../src/log/envelope.ts'
import type { LogKeys } from '../../src/log/keys.ts'
import { CommandRetention } from '../../src/log/retention.ts'
import type { StateSnapshots } from '../../src/log/state-snapshots.ts'
import type { StoredEvent } from '../../src/model/event.ts'
import { Chance } from './chance.ts'
import { runMix } from './run-mix.ts'

/** As the daemon has them by default. */
export const SEGMENT_EVENTS = 16_384
export const SNAPSHOT_EVENTS = 100_000

/** The events of a run mix with their positions, as a daemon would have written them; the same each time. */
export function* mixEvents(seed: number): Generator<StoredEvent> {
  const ids = new Chance(seed + 1)
  let position = 0
  for (const { namespace, cause, facts, timeMs } of runMix(seed, Date.UTC(2026, 0, 1))) {
    const time = new Date(timeMs).toISOString()
    for (const { aggregate, id, type, data } of facts) {
      const of = aggregates.get(aggregate)
      if (of === undefined) throw new Error(`there is no aggregate ${aggregate}`)
      const envelope = envelopeOf(of, { node: 'bench', namespace, id, type, data, cause, time })
      position += 1
      yield { ...envelope, id: ids.uuidv7(timeMs), position }
    }
  }
}

/** An archive that grows as a sealer's would, with snapshots of the state; it is faster only in that no event goes through Redis. */
export class GrowingArchive {
  readonly #events = mixEvents(1)
  readonly documents = new Documents(aggregates)
  readonly #retention = new CommandRetention(this.documents, () => {})
  /** Bytes of JSON. */
  bytes = 0
  /** Milliseconds that sealing took. */
  sealingMs = 0
  #last = ''

  async growTo(head: number, archive: Archive, snapshots: StateSnapshots): Promise<void> {
    while (this.documents.head < head) {
      const entries: Entry[] = []
      while (entries.length < SEGMENT_EVENTS && this.documents.head < head) {
        const { position, ...envelope } = this.#events.next().value as StoredEvent // It has no end.
        this.#last = JSON.stringify(envelope)
        const line = lineOf(position, this.#last)
        this.bytes += line.length
        this.documents.apply({ ...envelope, position })
        this.#retention.applied({ ...envelope, position })
        entries.push({ line, time: envelope.time })
        if (position % SNAPSHOT_EVENTS === 0) await snapshots.take(this.documents)
      }
      const begunAt = performance.now()
      await archive.seal(entries)
      this.sealingMs += performance.now() - begunAt
    }
  }

  /** What Redis holds once all of it is sealed and trimmed: the state, and the last event. */
  async putInto(redis: Redis, keys: LogKeys): Promise<void> {
    const { head } = this.documents
    const pipeline = redis.pipeline().del(keys.events).xadd(keys.events, `${head}-0`, 'e', this.#last)
    for (const name of aggregates.keys()) {
      pipeline.del(keys.documents(name))
      for (const [field, value] of this.documents.serialised(name)) pipeline.hset(keys.documents(name), field, value)
    }
    pipeline.hset(keys.meta, 'head', head)
    for (const [error] of (await pipeline.exec()) ?? []) if (error) throw error
  }
}
