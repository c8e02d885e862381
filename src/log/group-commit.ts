import type { Redis } from 'ioredis'
import { type AppendReply, defineScripts } from './append-script.ts'
import type { LogKeys } from './keys.ts'

/** One append: the script's keys and arguments. */
interface Waiting {
  keys: readonly string[]
  args: readonly (string | number)[]
  resolve(reply: AppendReply): void
  reject(error: unknown): void
}

type Pipeline = ReturnType<Redis['pipeline']>

/** What of one group is in Redis's hands while the next one gathers. */
const GROUPS_AT_ONCE = 2
/** A second group waits for so many appends: an fsync for each is what groups are there to save. */
const SECOND_GROUP_MIN = 16
/** Redis serves nobody else while it runs the appends that came in one write. */
const GROUP_MAX = 256

/**
 * Sends appends to Redis in groups: all of one tick, and all that come while others are under way, go in one write, so that
 * Redis fsyncs once for them. Each succeeds or fails by itself; they take effect in the order in which they were given.
 */
export class GroupCommit {
  readonly #redis: Redis
  readonly #keys: LogKeys
  readonly #scripts: ReturnType<typeof defineScripts>
  #waiting: Waiting[] = []
  #underWay = 0
  #scheduled = false
  /** Documents to be taken out of Redis, by aggregate. */
  #forgotten = new Map<string, string[]>()

  constructor(redis: Redis, keys: LogKeys) {
    this.#redis = redis
    this.#keys = keys
    this.#scripts = defineScripts(redis)
  }

  /** @throws what ioredis rejects with */
  append(keys: readonly string[], args: readonly (string | number)[]): Promise<AppendReply> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ keys, args, resolve, reject })
      this.#schedule()
    })
  }

  /** Takes documents out of state, with the next group or soon. Lost when Redis is away: the next start applies retention again. */
  forget(aggregate: string, fields: readonly string[]): void {
    if (this.#forgotten.size === 0)
      setImmediate(() =>
        this.#sendForgotten(this.#redis.pipeline())
          .exec()
          .catch(() => {}),
      )
    this.#forgotten.set(aggregate, [...(this.#forgotten.get(aggregate) ?? []), ...fields])
  }

  readonly quarantine: ReturnType<typeof defineScripts>['quarantine'] = (...keys) => this.#scripts.quarantine(...keys)

  #schedule(): void {
    if (this.#scheduled || !this.#mayBegin()) return
    this.#scheduled = true
    // After the promises of this tick have settled: who was answered together asks again together.
    process.nextTick(() => {
      this.#scheduled = false
      while (this.#mayBegin()) this.#begin(this.#waiting.splice(0, GROUP_MAX))
    })
  }

  #sendForgotten(pipeline: Pipeline): Pipeline {
    for (const [aggregate, fields] of this.#forgotten) pipeline.hdel(this.#keys.documents(aggregate), ...fields)
    this.#forgotten.clear()
    return pipeline
  }

  #mayBegin(): boolean {
    if (this.#waiting.length === 0) return false
    return this.#underWay === 0 || (this.#underWay < GROUPS_AT_ONCE && this.#waiting.length >= SECOND_GROUP_MIN)
  }

  #begin(group: readonly Waiting[]): void {
    this.#underWay += 1
    const pipeline = this.#redis.pipeline()
    for (const { keys, args } of group) this.#scripts.append(pipeline, keys, args)
    this.#sendForgotten(pipeline)
    pipeline
      .exec()
      .then(
        (replies) => {
          group.forEach(({ resolve, reject }, index) => {
            const [error, reply] = replies?.[index] ?? [new Error('Redis gave no reply')]
            if (error) reject(error)
            else resolve(reply as AppendReply) // The script's own.
          })
        },
        (error) => {
          for (const { reject } of group) reject(error)
        },
      )
      .finally(() => {
        this.#underWay -= 1
        this.#schedule()
      })
  }
}
