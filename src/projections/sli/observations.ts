import { mkdirSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { MetricValueWithName, Registry } from 'prom-client'
import { BUCKET_TABLES, Buckets } from './buckets.ts'
import { API_SECONDS, seriesOf } from './families.ts'

const EVERY_MS = 60_000
/** Who asks how it is, is not a user. */
const PROBES: ReadonlySet<string> = new Set(['GET /metrics', 'GET /healthz', 'GET /readyz'])
export const API_HISTOGRAM = 'purser_api_request_duration_seconds'

/** Requests as counted since the daemon started. */
interface Counted {
  /** By bucket, not cumulated. */
  buckets: number[]
  sum: number
  ok: number
  errors: number
}

/**
 * Keeps by the minute what no event tells: how requests were answered, and how full the disk is. A daemon that is killed
 * loses what it observed since the last minute.
 */
export class Observations implements AsyncDisposable {
  readonly #db: DatabaseSync
  readonly buckets: Buckets
  readonly #register: Registry
  readonly #root: string
  readonly #timer: NodeJS.Timeout
  #before: Counted = { buckets: [], sum: 0, ok: 0, errors: 0 }
  #diskMinute = 0

  /**
   * @param dir of the database
   * @param register where the API counts its requests
   * @param root on the disk whose use is observed
   */
  constructor(dir: string, register: Registry, root: string) {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    this.#db = new DatabaseSync(join(dir, 'observations.sqlite'))
    // FULL: a power cut must not take counters back, which would look as if they had begun anew.
    this.#db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -1000; ${BUCKET_TABLES}`)
    this.buckets = new Buckets(this.#db)
    this.#register = register
    this.#root = root
    this.#timer = setInterval(() => void this.take().catch(() => {}), EVERY_MS).unref() // A full disk: the next minute.
  }

  /** Stores what was counted since the last time. */
  async take(nowMs = Date.now()): Promise<void> {
    const now = await this.#count()
    const before = this.#before
    const seconds = Math.floor(nowMs / 1000)
    this.#db.exec('BEGIN')
    try {
      const put = (series: string, bucket: number, count: number, sum = 0) => {
        if (count > 0) this.buckets.put(series, bucket, seconds, '', count, sum)
      }
      // All of the sum goes with one bucket: nobody asks for that of a single one.
      let sum = now.sum - before.sum
      for (const [bucket, count] of now.buckets.entries()) {
        const added = count - (before.buckets[bucket] ?? 0)
        put(seriesOf('apiDuration'), bucket, added, sum)
        if (added > 0) sum = 0
      }
      put(seriesOf('apiRequests', 'ok'), 0, now.ok - before.ok)
      put(seriesOf('apiRequests', 'error'), 0, now.errors - before.errors)
      const minute = Math.floor(seconds / 60)
      if (minute > this.#diskMinute) put(seriesOf('diskUsed'), 0, 1, diskUsed(this.#root))
      this.#db.exec('COMMIT')
      this.#before = now
      this.#diskMinute = minute
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    await this.take().catch(() => {})
    this.#db.close()
  }

  async #count(): Promise<Counted> {
    const counted: Counted = { buckets: API_SECONDS.map(() => 0), sum: 0, ok: 0, errors: 0 }
    const histogram = await this.#register.getSingleMetric(API_HISTOGRAM)?.get()
    const cumulated = new Array<number>(API_SECONDS.length + 1).fill(0)
    // A histogram's values have names; the package's types say so for histograms only.
    for (const { labels, value, metricName } of (histogram?.values ?? []) as MetricValueWithName<string>[]) {
      const { route, status, waits, le } = labels as Record<string, string | undefined>
      if (route === undefined || PROBES.has(route)) continue
      if (metricName?.endsWith('_count')) counted[Number(status) >= 500 ? 'errors' : 'ok'] += value
      if (waits === 'true') continue
      if (metricName?.endsWith('_sum')) counted.sum += value
      else if (metricName?.endsWith('_bucket')) {
        const at = le === '+Inf' ? API_SECONDS.length : API_SECONDS.indexOf(Number(le))
        cumulated[at] = (cumulated[at] ?? 0) + value
      }
    }
    counted.buckets = cumulated.map((count, index) => count - (cumulated[index - 1] ?? 0))
    return counted
  }
}

/** As df has it: of what is used and what is there for users. */
export function diskUsed(path: string): number {
  const { blocks, bfree, bavail } = statfsSync(path)
  const used = blocks - bfree
  return used + bavail === 0 ? 0 : used / (used + bavail)
}
