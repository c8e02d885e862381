import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { bucketOf, isHistogram, type Sample, seriesOf } from './families.ts'

/** What a series amounts to. */
export interface Totals {
  count: number
  /** Of the values; seconds where it is a histogram. */
  sum: number
  /** How many fell in each bucket, not cumulated; a counter has one. */
  buckets: number[]
}

/** Series by name. */
export type Tally = ReadonlyMap<string, Totals>

export const BUCKET_TABLES = `
CREATE TABLE IF NOT EXISTS buckets (
  span INTEGER NOT NULL,
  start INTEGER NOT NULL,
  series TEXT NOT NULL,
  namespace TEXT NOT NULL,
  bucket INTEGER NOT NULL,
  count REAL NOT NULL,
  sum REAL NOT NULL,
  PRIMARY KEY (span, start, series, namespace, bucket)
) STRICT, WITHOUT ROWID;
`

const MINUTE = 60
const HOUR = 3600
/** All time. */
const EVER = 0
/** Beyond that there are hours only. */
const MINUTES_KEPT_SECONDS = 40 * 24 * HOUR

/** Counts by the minute, by the hour and of all time. */
export class Buckets {
  readonly #db: DatabaseSync
  readonly #add: StatementSync
  readonly #prune: StatementSync
  #hour = 0

  /** @param db has BUCKET_TABLES */
  constructor(db: DatabaseSync) {
    this.#db = db
    this.#add = db.prepare(`INSERT INTO buckets VALUES (?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET count = count + excluded.count, sum = sum + excluded.sum`)
    this.#prune = db.prepare(`DELETE FROM buckets WHERE span = ${MINUTE} AND start < ?`)
  }

  /** @param timeMs Unix time in milliseconds */
  add({ family, labels, value }: Sample, timeMs: number, namespace: string): void {
    const seconds = Math.floor(timeMs / 1000)
    const [times, sum] = isHistogram(family) ? [1, value] : [value, 0]
    this.put(seriesOf(family, ...labels), bucketOf(family, value), seconds, namespace, times, sum)
  }

  put(series: string, bucket: number, seconds: number, namespace: string, count: number, sum: number): void {
    const hour = floor(seconds, HOUR)
    for (const [span, start] of [
      [EVER, 0],
      [HOUR, hour],
      [MINUTE, floor(seconds, MINUTE)],
    ] as const)
      this.#add.run(span, start, series, namespace, bucket, count, sum)
    if (hour <= this.#hour) return
    this.#hour = hour
    this.#prune.run(hour - MINUTES_KEPT_SECONDS)
  }

  /** Of all time and all namespaces. */
  total(): Tally {
    return this.#sum([[EVER, 0, 1]], undefined)
  }

  /**
   * Of a time. Where there are no minutes any more, it begins and ends at whole hours.
   *
   * @param from Unix time in seconds, a whole minute; with it
   * @param to the same; without it
   */
  between(from: number, to: number, namespace?: string): Tally {
    const begin = this.#hasMinutes(from) ? from : floor(from, HOUR)
    const end = this.#hasMinutes(to) ? to : floor(to + HOUR - 1, HOUR)
    const [firstHour, lastHour] = [floor(begin + HOUR - 1, HOUR), floor(end, HOUR)]
    if (firstHour >= lastHour) return this.#sum([[MINUTE, begin, end]], namespace)
    return this.#sum(
      [
        [MINUTE, begin, firstHour],
        [HOUR, firstHour, lastHour],
        [MINUTE, lastHour, end],
      ],
      namespace,
    )
  }

  /** The mean value of a series in its last minute before a time; undefined when it has none. */
  latest(series: string, before: number): number | undefined {
    const row = this.#db
      .prepare(`SELECT sum, count FROM buckets WHERE span = ? AND start < ? AND series = ? ORDER BY start DESC LIMIT 1`)
      .get(MINUTE, before, series)
    return row === undefined ? undefined : Number(row.sum) / Number(row.count)
  }

  #hasMinutes(seconds: number): boolean {
    const newest = this.#db.prepare(`SELECT MAX(start) AS start FROM buckets WHERE span = ${HOUR}`).get()
    return seconds >= Number(newest?.start ?? 0) - MINUTES_KEPT_SECONDS
  }

  #sum(spans: readonly (readonly [span: number, from: number, to: number])[], namespace: string | undefined): Tally {
    const select = this.#db.prepare(`SELECT series, bucket, SUM(count) AS count, SUM(sum) AS sum FROM buckets
      WHERE span = ? AND start >= ? AND start < ? ${namespace === undefined ? '' : 'AND namespace = ?'}
      GROUP BY series, bucket`)
    const tally = new Map<string, Totals>()
    for (const [span, from, to] of spans) {
      if (from >= to) continue
      for (const row of select.all(span, from, to, ...(namespace === undefined ? [] : [namespace]))) {
        const series = String(row.series)
        const totals = tally.get(series) ?? { count: 0, sum: 0, buckets: [] }
        const bucket = Number(row.bucket)
        totals.count += Number(row.count)
        totals.sum += Number(row.sum)
        totals.buckets[bucket] = (totals.buckets[bucket] ?? 0) + Number(row.count)
        tally.set(series, totals)
      }
    }
    return tally
  }
}

const floor = (seconds: number, span: number): number => seconds - (seconds % span)
