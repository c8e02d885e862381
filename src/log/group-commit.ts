import type { Redis } from 'ioredis'
import { type AppendReply, defineScripts } from './append-script.ts'

/** One append: the script's keys and arguments. */
interface Waiting {
  keys: readonly string[]
  args: readonly (string | number)[]
  resolve(reply: AppendReply): void
  reject(error: unknown): void
}

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
  readonly #scripts: ReturnType<typeof defineScripts>
  #waiting: Waiting[] = []
  #underWay = 0
  #scheduled = false

  constructor(redis: Redis) {
    this.#redis = redis
    this.#scripts = defineScripts(redis)
  }

  /** @throws what ioredis rejects with */
  append(keys: readonly string[], args: readonly (string | number)[]): Promise<AppendReply> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ keys, args, resolve, reject })
      this.#schedule()
    })
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

  #mayBegin(): boolean {
    if (this.#waiting.length === 0) return false
    return this.#underWay === 0 || (this.#underWay < GROUPS_AT_ONCE && this.#waiting.length >= SECOND_GROUP_MIN)
  }

  #begin(group: readonly Waiting[]): void {
    this.#underWay += 1
    const pipeline = this.#redis.pipeline()
    for (const { keys, args } of group) this.#scripts.append(pipeline, keys, args)
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
