import type { StatementSync } from 'node:sqlite'
import type { CommandEnvelope } from '../../model/command.ts'
import type { StoredEvent } from '../../model/event.ts'
import { defineProjection } from '../projection.ts'
import { SqliteStore } from '../sqlite-store.ts'
import { type AuditFilter, type AuditPage, pageOf } from './query.ts'

/**
 * Who did what, to what, when and with which outcome: a row for each command, for each request that was refused, and for
 * what happened on the host by itself.
 */
export const audit = defineProjection({
  name: 'audit',
  schema: 1,
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

const TABLES = `
CREATE TABLE IF NOT EXISTS audit (
  position INTEGER PRIMARY KEY,
  time TEXT NOT NULL,
  namespace TEXT NOT NULL,
  actor TEXT NOT NULL,
  uid INTEGER,
  pid INTEGER,
  executable TEXT,
  surface TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  target TEXT GENERATED ALWAYS AS (substr(subject, instr(subject, '/') + 1)) VIRTUAL,
  command TEXT UNIQUE,
  parent TEXT,
  correlation TEXT,
  outcome TEXT NOT NULL,
  code TEXT,
  message TEXT NOT NULL,
  ended TEXT NOT NULL,
  duration_ms REAL
) STRICT;
CREATE INDEX IF NOT EXISTS audit_correlation ON audit (correlation, position);
CREATE INDEX IF NOT EXISTS audit_subject ON audit (subject, position);
CREATE INDEX IF NOT EXISTS audit_target ON audit (target, position);
CREATE INDEX IF NOT EXISTS audit_duration ON audit (duration_ms);
CREATE INDEX IF NOT EXISTS audit_action ON audit (action, position);
CREATE INDEX IF NOT EXISTS audit_outcome ON audit (outcome, position);
CREATE INDEX IF NOT EXISTS audit_namespace ON audit (namespace, position);
CREATE INDEX IF NOT EXISTS audit_actor ON audit (actor, position);
CREATE INDEX IF NOT EXISTS audit_uid ON audit (uid, position);
CREATE INDEX IF NOT EXISTS audit_pid ON audit (pid, position);
CREATE INDEX IF NOT EXISTS audit_surface ON audit (surface, position);
CREATE INDEX IF NOT EXISTS audit_executable ON audit (executable, position);
CREATE INDEX IF NOT EXISTS audit_code ON audit (code, position);
CREATE VIRTUAL TABLE IF NOT EXISTS audit_text USING fts5 (words, content = '', contentless_delete = 1);
`

export class AuditStore extends SqliteStore {
  constructor(dir: string) {
    super(dir, TABLES, (db) => {
      const insert = db.prepare(`INSERT OR REPLACE INTO audit VALUES
        (:position, :time, :namespace, :actor, :uid, :pid, :executable, :surface, :action, :subject, :command, :parent,
         :correlation, :outcome, :code, :message, :ended, :duration)`)
      const words = db.prepare('INSERT OR REPLACE INTO audit_text (rowid, words) VALUES (?, ?)')
      const end = db.prepare(`UPDATE audit SET outcome = :outcome, code = :code, message = :message, ended = :ended,
        duration_ms = :duration WHERE command = :command RETURNING position, subject`)
      const start = db.prepare(`UPDATE audit SET outcome = 'running' WHERE command = ? AND ended = ''`)
      return (event) => apply(event, { insert, words, end, start })
    })
  }

  /** @throws PurserError invalid_argument for a cursor or a search that is none */
  page(filter: AuditFilter): AuditPage {
    return pageOf(this.db, filter)
  }
}

interface Statements {
  insert: StatementSync
  words: StatementSync
  end: StatementSync
  start: StatementSync
}

function apply(event: StoredEvent, { insert, words, end, start }: Statements): void {
  const commandId = event.aggregate === 'command' ? event.subject.slice('command/'.length) : ''
  switch (event.type) {
    case 'command.accepted': {
      const { command } = event.data as { command: CommandEnvelope }
      const subject = `${command.aggregate}/${command.subject}`
      insert.run({
        ...rowOf(event),
        action: command.type,
        subject,
        surface: command.surface ?? '',
        command: command.id,
        parent: command.parentId ?? null,
        outcome: 'accepted',
      })
      words.run(event.position, subject)
      return
    }
    case 'command.started':
      start.run(commandId)
      return
    case 'command.succeeded':
    case 'command.failed':
    case 'command.cancelled': {
      const { error, durationMs } = event.data as { error?: { code: string; message: string }; durationMs: number }
      const row = end.get({
        command: commandId,
        outcome: event.type.slice('command.'.length),
        code: error?.code ?? null,
        message: error?.message ?? '',
        ended: event.time,
        duration: durationMs,
      })
      if (row && error) words.run(Number(row.position), `${row.subject} ${error.message}`)
      return
    }
    case 'request.read':
    case 'request.refused': {
      const {
        method,
        target,
        surface,
        code = null,
        message = '',
      } = event.data as { [name: string]: string | undefined }
      const outcome = event.type === 'request.read' ? 'read' : 'refused'
      const subject = target ?? ''
      insert.run({
        ...rowOf(event),
        action: `request.${method}`,
        subject,
        surface: surface ?? '',
        command: null,
        outcome,
        code,
        message,
      })
      words.run(event.position, `${target} ${message}`)
      return
    }
    default: {
      const { reason, exitCode } = event.data
      const message = [exitCode === undefined ? '' : `exit code ${exitCode}`, reason ?? ''].filter(Boolean).join(': ')
      // Its command's id is the cause's, which has a row of its own.
      insert.run({ ...rowOf(event), command: null, parent: event.commandid || null, outcome: 'happened', message })
      words.run(event.position, `${event.subject} ${message}`)
    }
  }
}

function rowOf(event: StoredEvent) {
  const [, uid] = /\buid=(\d+)/.exec(event.actor) ?? []
  const [, pid] = /\bpid=(\d+)/.exec(event.actor) ?? []
  const [, executable] = /\bexe=(.*)$/.exec(event.actor) ?? []
  return {
    position: event.position,
    time: event.time,
    namespace: event.namespace,
    actor: event.actor,
    uid: uid === undefined ? null : Number(uid),
    pid: pid === undefined ? null : Number(pid),
    executable: executable ?? null,
    surface: '',
    action: event.type,
    subject: event.subject,
    parent: null,
    correlation: event.correlationid || null,
    code: null,
    message: '',
    ended: '',
    duration: null,
  }
}
