import { join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import type { StoredEvent } from '../model/event.ts'
import { FoldError, type ProjectionStore } from './projection.ts'

const ANALYSIS_EVENTS = 20_000

/** How a projection's tables take events. */
export interface TableFold {
  apply(event: StoredEvent): void
  /** Writes what `apply` held back, at the end of each batch. */
  flush(): void
}

/**
 * A projection's tables with its checkpoint, in one database: a transaction has both or neither. It is made again from the
 * log when it is lost, so it is not fsynced.
 */
export class SqliteStore implements ProjectionStore {
  readonly db: DatabaseSync
  readonly #tables: TableFold
  readonly #saveCheckpoint: StatementSync
  #checkpoint: number
  #sinceAnalysis = 0

  /**
   * @param schema statements that make the tables where they are missing
   * @param prepare is given the database and returns what folds one event into it
   */
  constructor(dir: string, schema: string, prepare: (db: DatabaseSync) => TableFold | TableFold['apply']) {
    this.db = new DatabaseSync(join(dir, 'projection.sqlite'))
    // WAL with synchronous=NORMAL: whole after a crash, perhaps a little behind.
    this.db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -4000')
    this.db.exec(`CREATE TABLE IF NOT EXISTS projection (checkpoint INTEGER NOT NULL) STRICT; ${schema}`)
    const stored = this.db.prepare('SELECT checkpoint FROM projection').get()
    if (stored === undefined) this.db.exec('INSERT INTO projection VALUES (0)')
    this.#checkpoint = Number(stored?.checkpoint ?? 0)
    this.#saveCheckpoint = this.db.prepare('UPDATE projection SET checkpoint = ?')
    const fold = prepare(this.db)
    this.#tables = typeof fold === 'function' ? { apply: fold, flush: () => {} } : fold
  }

  get checkpoint(): number {
    return this.#checkpoint
  }

  fold(events: readonly StoredEvent[], checkpoint: number): void {
    this.db.exec('BEGIN')
    let position = checkpoint
    try {
      for (const event of events) {
        position = event.position
        this.#tables.apply(event)
      }
      this.#tables.flush()
      this.#saveCheckpoint.run(checkpoint)
      this.db.exec('COMMIT')
    } catch (error) {
      if (this.db.isTransaction) this.db.exec('ROLLBACK') // SQLite has done it already when its disk is full.
      throw isFull(error) ? error : new FoldError(position, error)
    }
    this.#checkpoint = checkpoint
    this.#sinceAnalysis += events.length
    if (this.#sinceAnalysis < ANALYSIS_EVENTS) return
    // So that the planner knows which filter leaves the fewest rows.
    this.#sinceAnalysis = 0
    this.db.exec('PRAGMA analysis_limit = 1000; PRAGMA optimize')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.db.close()
  }
}

/** SQLITE_FULL and SQLITE_IOERR are the disk's, not the event's. @see sqlite.org/rescode.html */
const isFull = (error: unknown): boolean => {
  const code = error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode : 0
  return (code & 0xff) === 13 || (code & 0xff) === 10
}
