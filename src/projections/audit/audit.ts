import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { CommandEnvelope } from '../../model/command.ts'
import type { StoredEvent } from '../../model/event.ts'
import { defineProjection } from '../projection.ts'
import { SqliteStore, type TableFold } from '../sqlite-store.ts'
import { type AuditFilter, type AuditPage, type PageBounds, pageOf } from './query.ts'

/**
 * Who did what, to what, when and with which outcome: a row for each command, for each request that was refused, and for
 * what happened on the host by itself.
 */
export const audit = defineProjection({
  name: 'audit',
  schema: 2,
  folds: [
    'command.accepted',
    'command.started',
    'command.succeeded',
    'command.failed',
    'command.cancelled',
    'log.entries-quarantined',
    'log.restored',
    'log.segments-dropped',
    'request.read',
    'request.refused',
    'task.exec-exited',
    'task.exited',
    'task.oom',
  ],
  open: async (dir) => new AuditStore(dir),
})

/**
 * What few values are of is kept once for all rows that have the same: a row's class. A filter on any of it is a choice of
 * classes, and the rows of each are in order.
 */
const TABLES = `
CREATE TABLE IF NOT EXISTS classes (
  class INTEGER PRIMARY KEY,
  namespace TEXT NOT NULL,
  uid INTEGER NOT NULL,
  executable TEXT NOT NULL,
  surface TEXT NOT NULL,
  action TEXT NOT NULL,
  outcome TEXT NOT NULL,
  code TEXT NOT NULL,
  UNIQUE (namespace, uid, executable, surface, action, outcome, code)
) STRICT;
CREATE TABLE IF NOT EXISTS audit (
  position INTEGER PRIMARY KEY,
  class INTEGER NOT NULL,
  time TEXT NOT NULL,
  actor TEXT NOT NULL,
  pid INTEGER,
  subject TEXT NOT NULL,
  target TEXT GENERATED ALWAYS AS (substr(subject, instr(subject, '/') + 1)) VIRTUAL,
  command TEXT UNIQUE,
  parent TEXT,
  correlation TEXT,
  message TEXT NOT NULL,
  ended TEXT NOT NULL,
  duration_ms REAL
) STRICT;
CREATE INDEX IF NOT EXISTS audit_class ON audit (class, position);
CREATE INDEX IF NOT EXISTS audit_correlation ON audit (correlation, position);
CREATE INDEX IF NOT EXISTS audit_subject ON audit (subject, position);
CREATE INDEX IF NOT EXISTS audit_target ON audit (target, position);
CREATE INDEX IF NOT EXISTS audit_actor ON audit (actor, position);
CREATE INDEX IF NOT EXISTS audit_pid ON audit (pid, position);
CREATE INDEX IF NOT EXISTS audit_duration ON audit (duration_ms);
CREATE VIRTUAL TABLE IF NOT EXISTS audit_text USING fts5 (words, content = '', contentless_delete = 1);
`

/** No user is known to have asked. */
const NOBODY = -1

export class AuditStore extends SqliteStore {
  constructor(dir: string) {
    super(dir, TABLES, (db) => new AuditFold(db))
  }

  /**
   * @param bounds of what one page may take; it may have fewer rows than asked for, or none, and say where to go on
   * @throws PurserError invalid_argument for a cursor or a search that is none
   */
  page(filter: AuditFilter, bounds?: PageBounds): AuditPage {
    return pageOf(this.db, filter, bounds)
  }
}

/** A row as it is folded. */
interface Row {
  position: number
  time: string
  namespace: string
  actor: string
  uid: number
  pid: number | null
  executable: string
  surface: string
  action: string
  subject: string
  command: string | null
  parent: string | null
  correlation: string | null
  outcome: string
  code: string
  message: string
  ended: string
  duration: number | null
}

/** What an event says about a command that was accepted before. */
type Change = Pick<Row, 'outcome' | 'code' | 'message' | 'ended' | 'duration'>

/** Most commands end in the batch that they begin in: their rows are written once, as they are at its end. */
class AuditFold implements TableFold {
  readonly #insert: StatementSync
  readonly #words: StatementSync
  readonly #known: StatementSync
  readonly #change: StatementSync
  readonly #addClass: StatementSync
  readonly #findClass: StatementSync
  readonly #rows = new Map<number, Row>()
  readonly #commands = new Map<string, Row>()

  constructor(db: DatabaseSync) {
    this.#insert =
      db.prepare(`INSERT OR REPLACE INTO audit VALUES (:position, :class, :time, :actor, :pid, :subject, :command,
      :parent, :correlation, :message, :ended, :duration)`)
    this.#words = db.prepare('INSERT OR REPLACE INTO audit_text (rowid, words) VALUES (?, ?)')
    this.#known = db.prepare('SELECT * FROM audit JOIN classes USING (class) WHERE command = ?')
    this.#change =
      db.prepare(`UPDATE audit SET class = :class, message = :message, ended = :ended, duration_ms = :duration
      WHERE position = :position`)
    const fields = ['namespace', 'uid', 'executable', 'surface', 'action', 'outcome', 'code']
    this.#addClass = db.prepare(
      `INSERT INTO classes (${fields}) VALUES (${fields.map((field) => `:${field}`)}) RETURNING class`,
    )
    this.#findClass = db.prepare(
      `SELECT class FROM classes WHERE ${fields.map((field) => `${field} = :${field}`).join(' AND ')}`,
    )
  }

  apply(event: StoredEvent): void {
    const commandId = event.aggregate === 'command' ? event.subject.slice('command/'.length) : ''
    switch (event.type) {
      case 'command.accepted': {
        const { command } = event.data as { command: CommandEnvelope }
        this.#add({
          ...rowOf(event),
          action: command.type,
          subject: `${command.aggregate}/${command.subject}`,
          surface: command.surface ?? '',
          command: command.id,
          parent: command.parentId ?? null,
          outcome: 'accepted',
        })
        return
      }
      case 'command.started':
        this.#update(commandId, (row) => (row.ended === '' ? { ...unended, outcome: 'running' } : undefined))
        return
      case 'command.succeeded':
      case 'command.failed':
      case 'command.cancelled': {
        const { error, durationMs } = event.data as { error?: { code: string; message: string }; durationMs: number }
        const outcome = event.type.slice('command.'.length)
        const { code, message } = error ?? unended
        this.#update(commandId, () => ({ outcome, code, message, ended: event.time, duration: durationMs }))
        return
      }
      case 'request.read':
      case 'request.refused': {
        const asked = event.data as { [name: string]: string | undefined }
        this.#add({
          ...rowOf(event),
          action: `request.${asked.method}`,
          subject: asked.target ?? '',
          surface: asked.surface ?? '',
          outcome: event.type === 'request.read' ? 'read' : 'refused',
          code: asked.code ?? '',
          message: asked.message ?? '',
        })
        return
      }
      default: {
        const { reason, exitCode } = event.data
        const message = [exitCode === undefined ? '' : `exit code ${exitCode}`, reason ?? ''].filter(Boolean).join(': ')
        // Its command's id is the cause's, which has a row of its own.
        this.#add({ ...rowOf(event), parent: event.commandid || null, outcome: 'happened', message })
      }
    }
  }

  flush(): void {
    const classes = new Map<string, number>() // Of this transaction: none that was rolled back is remembered.
    for (const row of this.#rows.values()) {
      const { position, time, actor, pid, subject, command, parent, correlation, message, ended, duration } = row
      this.#insert.run({
        ...{ position, class: this.#classOf(row, classes), time, actor, pid, subject, command, parent, correlation },
        ...{ message, ended, duration },
      })
      this.#words.run(position, `${subject} ${message}`)
    }
    this.#rows.clear()
    this.#commands.clear()
  }

  #add(row: Row): void {
    this.#rows.set(row.position, row)
    if (row.command !== null) this.#commands.set(row.command, row)
  }

  #update(commandId: string, changeOf: (row: { ended: string }) => Change | undefined): void {
    const held = this.#commands.get(commandId)
    if (held) {
      Object.assign(held, changeOf(held))
      return
    }
    const known = this.#known.get(commandId) as unknown as Row | undefined // Our own columns.
    const change = known && changeOf(known)
    if (known === undefined || change === undefined) return
    const { position, subject } = known
    const { message, ended, duration } = change
    this.#change.run({ position, class: this.#classOf({ ...known, ...change }, new Map()), message, ended, duration })
    if (message !== '') this.#words.run(position, `${subject} ${message}`)
  }

  #classOf({ namespace, uid, executable, surface, action, outcome, code }: Row, known: Map<string, number>): number {
    const values = { namespace, uid, executable, surface, action, outcome, code }
    const key = JSON.stringify(values)
    const id = known.get(key) ?? (this.#findClass.get(values) ?? this.#addClass.get(values))?.class
    known.set(key, Number(id))
    return Number(id)
  }
}

const unended = { outcome: '', code: '', message: '', ended: '', duration: null }

function rowOf(event: StoredEvent): Row {
  const [, uid] = /\buid=(\d+)/.exec(event.actor) ?? []
  const [, pid] = /\bpid=(\d+)/.exec(event.actor) ?? []
  const [, executable] = /\bexe=(.*)$/.exec(event.actor) ?? []
  return {
    position: event.position,
    time: event.time,
    namespace: event.namespace,
    actor: event.actor,
    uid: uid === undefined ? NOBODY : Number(uid),
    pid: pid === undefined ? null : Number(pid),
    executable: executable ?? '',
    surface: '',
    action: event.type,
    subject: event.subject,
    command: null,
    parent: null,
    correlation: event.correlationid || null,
    outcome: '',
    code: '',
    message: '',
    ended: '',
    duration: null,
  }
}
