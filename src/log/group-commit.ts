import type { Redis } from 'ioredis'
import { type AppendReply, defineScripts } from './append-script.ts'
import type { LogKeys } from './keys.ts'

/** The script's keys and arguments of one append. */
export interface AppendRequest {
  keys: readonly string[]
  args: readonly (string | number)[]
}

interface Waiting extends AppendRequest {
  resolve(reply: AppendReply): void
  reject(error: unknown): void
}

type Pipeline = ReturnType<Redis['pipeline']>

/** While Redis has one group, the next is on its way to it, and the answers to a third are taken in. */
const GROUPS_AT_ONCE = 3
/** A further group waits for so many appends: an fsync for each is what groups are there to save. */
const FURTHER_GROUP_MIN = 8
/** Redis serves nobody else while it runs a group: one or two milliseconds. */
const GROUP_MAX = 32

/**
 * Sends appends to Redis in groups: all of one tick, and all that come while others are under way, are one call, so that
 * Redis fsyncs once for them. Each succeeds or fails by itself; they take effect in the order in which they were given.
 */
export class GroupCommit {
  readonly #redis: Redis
  readonly #keys: LogKeys
  readonly #scripts: ReturnType<typeof defineScripts>
  #waiting: Waiting[] = []
  #underWay = 0
  #scheduled = false
  /** Of the daemon that writes. */
  epoch = 0
  /** Documents to be taken out of Redis, by aggregate. */
  #forgotten = new Map<string, string[]>()

  constructor(redis: Redis, keys: LogKeys) {
    this.#redis = redis
    this.#keys = keys
    this.#scripts = defineScripts(redis)
  }

  /** @throws what ioredis rejects with */
  append(request: AppendRequest): Promise<AppendReply> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ ...request, resolve, reject })
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
    return this.#underWay === 0 || (this.#underWay < GROUPS_AT_ONCE && this.#waiting.length >= FURTHER_GROUP_MIN)
  }

  #begin(group: readonly Waiting[]): void {
    this.#underWay += 1
    const { events, meta, fences } = this.#keys
    const pipeline = this.#redis.pipeline()
    this.#scripts.append(
      pipeline,
      [events, meta, fences, ...group.flatMap(({ keys }) => keys)],
      [this.epoch, group.length, ...group.flatMap(({ args }) => args)],
    )
    this.#sendForgotten(pipeline)
    const failAll = (error: unknown) => {
      for (const { reject } of group) reject(error)
    }
    pipeline
      .exec()
      .then((answers) => {
        const [error, replies] = answers?.[0] ?? [new Error('Redis gave no reply')]
        if (error) failAll(error)
        else for (const [index, waiting] of group.entries()) settle(waiting, (replies as AppendReply[])[index])
      }, failAll)
      .finally(() => {
        this.#underWay -= 1
        this.#schedule()
      })
  }
}

/** @param reply the script's own, of this append */
function settle({ resolve, reject }: Waiting, reply: AppendReply | undefined): void {
  if (reply === undefined) reject(new Error('Redis gave no reply'))
  else if (reply[0] === 'error') reject(Object.assign(new Error(reply[1]), { name: 'ReplyError' }))
  else resolve(reply)
}
