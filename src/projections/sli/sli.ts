import type { DatabaseSync } from 'node:sqlite'
import { defineProjection } from '../projection.ts'
import { SqliteStore } from '../sqlite-store.ts'
import { BUCKET_TABLES, Buckets } from './buckets.ts'
import { EXEMPLAR_TABLES, Exemplars } from './exemplars.ts'
import { FOLDS, fold, type Memory, type OpenCommand, type OpenJob, type OpenTask } from './fold.ts'

/** Service level indicators, as counts by the minute. */
export const sli = defineProjection({
  name: 'sli',
  schema: 6,
  folds: FOLDS,
  open: async (dir) => new SliStore(dir),
})

const TABLES = `
${BUCKET_TABLES}
CREATE TABLE IF NOT EXISTS open_commands (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS open_jobs (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS open_tasks (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
${EXEMPLAR_TABLES}
`

export class SliStore extends SqliteStore {
  readonly buckets: Buckets
  readonly exemplars: Exemplars

  constructor(dir: string) {
    let made: { buckets: Buckets; exemplars: Exemplars } | undefined
    super(dir, TABLES, (db) => {
      const buckets = new Buckets(db)
      const exemplars = new Exemplars(db)
      made = { buckets, exemplars }
      const memories = {
        commands: tableMemory<OpenCommand>(db, 'open_commands'),
        tasks: tableMemory<OpenTask>(db, 'open_tasks'),
        jobs: tableMemory<OpenJob>(db, 'open_jobs'),
      }
      return (event) => {
        const timeMs = Date.parse(event.time)
        for (const sample of fold(memories, event)) {
          buckets.add(sample, timeMs, event.namespace)
          exemplars.note(sample, timeMs, event.traceparent)
        }
      }
    })
    this.buckets = made?.buckets ?? new Buckets(this.db)
    this.exemplars = made?.exemplars ?? new Exemplars(this.db)
  }
}

function tableMemory<T>(db: DatabaseSync, table: 'open_commands' | 'open_jobs' | 'open_tasks'): Memory<T> {
  const get = db.prepare(`SELECT value FROM ${table} WHERE key = ?`)
  const set = db.prepare(`INSERT OR REPLACE INTO ${table} VALUES (?, ?)`)
  const remove = db.prepare(`DELETE FROM ${table} WHERE key = ?`)
  return {
    get(key) {
      const row = get.get(key)
      return row === undefined ? undefined : (JSON.parse(String(row.value)) as T) // Written below.
    },
    set: (key, value) => void set.run(key, JSON.stringify(value)),
    delete: (key) => void remove.run(key),
  }
}
