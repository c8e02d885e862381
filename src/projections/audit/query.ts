import type { DatabaseSync, SQLInputValue } from 'node:sqlite'
import { PurserError } from '../../model/errors.ts'

/** All that are given must hold. */
export interface AuditFilter {
  /** Exact, or a glob with `*` and `?`. */
  subject?: string | undefined
  action?: string | undefined
  namespace?: string | undefined
  actor?: string | undefined
  uid?: number | undefined
  pid?: number | undefined
  executable?: string | undefined
  surface?: string | undefined
  outcome?: string | undefined
  code?: string | undefined
  command?: string | undefined
  correlation?: string | undefined
  /** Words that subject and error message must have; a word may end in `*`. */
  text?: string | undefined
  /** Positions: after one, up to and with another. */
  after?: number | undefined
  through?: number | undefined
  /** Milliseconds that it took, at least. */
  slowerThanMs?: number | undefined
  order: 'newest' | 'oldest'
  limit: number
  /** `next` of the page before. */
  cursor?: string | undefined
}

export interface AuditRow {
  position: number
  time: string
  namespace: string
  actor: string
  uid?: number
  pid?: number
  executable?: string
  surface?: string
  action: string
  subject: string
  command?: string
  /** The command that this one is a step of, or that led to what happened. */
  parent?: string
  correlation?: string
  /** accepted, running, succeeded, failed, cancelled; refused, read; happened. */
  outcome: string
  code?: string
  message?: string
  ended?: string
  durationMs?: number
}

export interface AuditPage {
  items: AuditRow[]
  next?: string
}

const COLUMNS = [
  'subject',
  'action',
  'namespace',
  'actor',
  'executable',
  'surface',
  'outcome',
  'code',
  'command',
  'correlation',
] as const

// */c1: whatever has that id.
const ANY_AGGREGATE = /^\*\/[^*?]+$/

export function pageOf(db: DatabaseSync, filter: AuditFilter): AuditPage {
  const conditions: string[] = []
  const values: Record<string, SQLInputValue> = {}
  for (const column of COLUMNS) {
    const wanted = filter[column]
    if (wanted === undefined) continue
    if (column === 'subject' && ANY_AGGREGATE.test(wanted)) {
      conditions.push('audit.target = :subject')
      values.subject = wanted.slice(2)
    } else if (/[*?]/.test(wanted)) {
      conditions.push(`audit.${column} GLOB :${column}`)
      values[column] = wanted.replaceAll('[', '[[]')
    } else {
      conditions.push(`audit.${column} = :${column}`)
      values[column] = wanted
    }
  }
  const bound = (sql: string, name: string, value: number | undefined) => {
    if (value === undefined) return
    conditions.push(sql)
    values[name] = value
  }
  bound('audit.uid = :uid', 'uid', filter.uid)
  bound('audit.pid = :pid', 'pid', filter.pid)
  bound('audit.position > :after', 'after', filter.after)
  bound('audit.position <= :through', 'through', filter.through)
  bound('audit.duration_ms >= :slower', 'slower', filter.slowerThanMs)
  const newest = filter.order === 'newest'
  bound(`audit.position ${newest ? '<' : '>'} :cursor`, 'cursor', cursorOf(filter.cursor))
  // The words come in the order of their rows, so that a page needs no sorting, however many rows match.
  const text = filter.text === undefined ? undefined : searchOf(filter.text)
  if (text !== undefined) {
    conditions.push('audit_text MATCH :text')
    values.text = text
  }
  const from = text === undefined ? 'audit' : 'audit_text CROSS JOIN audit ON audit.position = audit_text.rowid'
  const key = text === undefined ? 'audit.position' : 'audit_text.rowid'
  const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')}`
  const sql = `SELECT audit.* FROM ${from} ${where} ORDER BY ${key} ${newest ? 'DESC' : 'ASC'} LIMIT :limit`
  const rows = db.prepare(sql).all({ ...values, limit: filter.limit + 1 })
  const items = rows.slice(0, filter.limit).map(viewOf)
  const last = items.at(-1)
  return { items, ...(rows.length > filter.limit && last ? { next: String(last.position) } : {}) }
}

function viewOf(row: Record<string, unknown>): AuditRow {
  const { duration_ms, target: _, ...rest } = row
  const fields = Object.entries({ ...rest, durationMs: duration_ms }).filter(
    ([, value]) => value !== null && value !== '',
  )
  return Object.fromEntries(fields) as unknown as AuditRow
}

function cursorOf(cursor: string | undefined): number | undefined {
  if (cursor === undefined) return undefined
  if (/^\d{1,15}$/.test(cursor)) return Number(cursor)
  throw new PurserError('invalid_argument', `cursor: ${JSON.stringify(cursor.slice(0, 100))} is none`, {
    field: 'cursor',
    remedy: 'send the next of the page before',
  })
}

/** FTS5's language, of which only words and prefixes are let through. */
function searchOf(text: string): string {
  const words = text.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word))
  if (words.length === 0)
    throw new PurserError('invalid_argument', `text: ${JSON.stringify(text.slice(0, 100))} has no word to look for`, {
      field: 'text',
    })
  return words
    .map((word) => {
      const prefix = word.endsWith('*')
      return `"${word.replace(/\*$/, '').replaceAll('"', '""')}"${prefix ? '*' : ''}`
    })
    .join(' ')
}
