import { setTimeout as delay } from 'node:timers/promises'
import { z } from 'zod'
import type { Api } from './purser.ts'

const READY_MS_MAX = 120_000
const claimed = z.object({ id: z.string(), start: z.enum(['warm', 'cold']) })
const counted = z.object({ ready: z.number(), warming: z.number() })

/** What a call finds: it waits for its claim, and works until it is over. */
const ARGS = ['sh', '-c', 'read id </run/purser/claim; exec sleep 1000']

export interface PoolSize {
  min: number
  max?: number
  hitRatio?: number
}

/** A pool of tasks that wait for their claims. */
export class BenchPool {
  readonly #api: Api
  readonly name: string

  private constructor(api: Api, name: string) {
    this.#api = api
    this.name = name
  }

  /** Returns once it is filled. */
  static async create(api: Api, name: string, image: string, sizing: PoolSize): Promise<BenchPool> {
    const template = { image, options: { args: ARGS } }
    await api.execute('pool.create', name, { template, sizing, ready: { type: 'wait' } })
    const pool = new BenchPool(api, name)
    await pool.filled(sizing.min)
    return pool
  }

  async claim(): Promise<z.output<typeof claimed>> {
    const [status, body] = await this.#api.ask('POST', `/v1/pools/${this.name}/claim`, {})
    if (status !== 200) throw new Error(`claim: ${status} ${body}`)
    return claimed.parse(JSON.parse(body))
  }

  release(id: string): Promise<unknown> {
    return this.#api.execute('pool.release', this.name, { id })
  }

  async filled(ready: number): Promise<void> {
    const deadline = Date.now() + READY_MS_MAX
    for (;;) {
      const [, body] = await this.#api.ask('GET', `/v1/pools/${this.name}`)
      if (counted.parse(JSON.parse(body)).ready >= ready) return
      if (Date.now() > deadline) throw new Error(`the pool ${this.name} is not filled: ${body}`)
      await delay(20)
    }
  }

  delete(): Promise<unknown> {
    return this.#api.execute('pool.delete', this.name, { claimed: 'remove' })
  }
}
