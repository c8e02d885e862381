import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { bucketOf, isHistogram, type Sample, seriesOf } from './families.ts'

export const EXEMPLAR_TABLES = `
CREATE TABLE IF NOT EXISTS exemplars (
  series TEXT NOT NULL,
  bucket INTEGER NOT NULL,
  trace TEXT NOT NULL,
  value REAL NOT NULL,
  time_ms INTEGER NOT NULL,
  PRIMARY KEY (series, bucket)
) STRICT, WITHOUT ROWID;
`

/** One value of a bucket, with the trace that tells how it came about. */
export interface Exemplar {
  /** 32 hexadecimal digits. */
  trace: string
  value: number
  timeMs: number
}

/** The last traced value of each bucket. */
export class Exemplars {
  readonly #db: DatabaseSync
  readonly #note: StatementSync

  /** @param db has EXEMPLAR_TABLES */
  constructor(db: DatabaseSync) {
    this.#db = db
    this.#note = db.prepare('INSERT OR REPLACE INTO exemplars VALUES (?, ?, ?, ?, ?)')
  }

  /** @param traceparent as W3C Trace Context has it; without one there is nothing to note */
  note({ family, labels, value }: Sample, timeMs: number, traceparent: string | undefined): void {
    const trace = traceparent?.split('-')[1]
    if (trace === undefined || !isHistogram(family)) return
    this.#note.run(seriesOf(family, ...labels), bucketOf(family, value), trace, value, timeMs)
  }

  /** By series and bucket, as `keyOf` puts them together. */
  all(): ReadonlyMap<string, Exemplar> {
    const rows = this.#db.prepare('SELECT series, bucket, trace, value, time_ms FROM exemplars').all()
    return new Map(
      rows.map((row) => [
        exemplarKey(String(row.series), Number(row.bucket)),
        { trace: String(row.trace), value: Number(row.value), timeMs: Number(row.time_ms) },
      ]),
    )
  }
}

export const exemplarKey = (series: string, bucket: number): string => `${series} ${bucket}`
