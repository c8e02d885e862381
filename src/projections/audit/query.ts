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

/** Of these there are few values, so that a glob can be taken for the values that match it. */
const FEW_VALUES = new Set<(typeof COLUMNS)[number]>([
  'action',
  'namespace',
  'executable',
  'surface',
  'outcome',
  'code',
])
/** More than these are too many to look up one by one. */
const VALUES_MAX = 100
/** So many rows are looked at and sorted sooner than a page of them is found in the order of the trail. */
const SORTED_MAX = 10_000

export function pageOf(db: DatabaseSync, filter: AuditFilter): AuditPage {
  const conditions: string[] = []
  /** Of a glob that several values match: a search for each, of which the best are taken. */
  let arms: string[] = []
  const values: Record<string, SQLInputValue> = {}
  /** Conditions that an index answers, by its name. */
  const indexed = new Map<string, string>()
  const exactly = (column: string, name: string) => {
    const condition = `audit.${column} = :${name}`
    conditions.push(condition)
    if (column !== 'command') indexed.set(`audit_${column}`, condition)
  }
  for (const column of COLUMNS) {
    const wanted = filter[column]
    if (wanted === undefined) continue
    values[column] = wanted
    if (column === 'subject' && ANY_AGGREGATE.test(wanted)) {
      exactly('target', 'subject')
      values.subject = wanted.slice(2)
      continue
    }
    if (!/[*?]/.test(wanted)) {
      exactly(column, column)
      continue
    }
    values[column] = wanted.replaceAll('[', '[[]')
    const found = FEW_VALUES.has(column) ? valuesLike(db, column, values[column]) : undefined
    if (found?.length === 0) return { items: [] }
    if (found === undefined || arms.length > 0 || filter.text !== undefined) {
      // Without its index, which would have all that matches sorted.
      conditions.push(`+audit.${column} GLOB :${column}`)
      continue
    }
    delete values[column]
    for (const [index, value] of found.entries()) values[`${column}${index}`] = value
    arms = found.map((_, index) => `audit.${column} = :${column}${index}`)
  }
  const bound = (sql: string, name: string, value: number | undefined) => {
    if (value === undefined) return
    conditions.push(sql)
    values[name] = value
  }
  for (const column of ['uid', 'pid'] as const) {
    const wanted = filter[column]
    if (wanted === undefined) continue
    exactly(column, column)
    values[column] = wanted
  }
  if (filter.slowerThanMs !== undefined) indexed.set('audit_duration', 'audit.duration_ms >= :slower')
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
  const index = text === undefined ? rarest(db, indexed, values) : undefined
  const from =
    text !== undefined
      ? 'audit_text CROSS JOIN audit ON audit.position = audit_text.rowid'
      : index === undefined
        ? 'audit'
        : `audit INDEXED BY ${index}`
  const order = newest ? 'DESC' : 'ASC'
  const key = text === undefined ? 'audit.position' : 'audit_text.rowid'
  const search = (...more: string[]): string => {
    const all = [...conditions, ...more]
    const where = all.length === 0 ? '' : `WHERE ${all.join(' AND ')}`
    return `SELECT audit.* FROM ${from} ${where} ORDER BY ${key} ${order} LIMIT :limit`
  }
  const sql =
    arms.length === 0
      ? search()
      : `SELECT * FROM (${arms.map((arm) => `SELECT * FROM (${search(arm)})`).join(' UNION ALL ')})
         ORDER BY position ${order} LIMIT :limit`
  const rows = db.prepare(sql).all({ ...values, limit: filter.limit + 1 })
  const items = rows.slice(0, filter.limit).map(viewOf)
  const last = items.at(-1)
  return { items, ...(rows.length > filter.limit && last ? { next: String(last.position) } : {}) }
}

/** The values of a column that match a glob, each found by a step in its index; undefined when there are too many. */
function valuesLike(db: DatabaseSync, column: string, glob: string): string[] | undefined {
  const rows = db
    .prepare(
      `WITH RECURSIVE found (value) AS (
         SELECT min(${column}) FROM audit
         UNION ALL
         SELECT (SELECT min(${column}) FROM audit WHERE ${column} > found.value) FROM found WHERE found.value IS NOT NULL
         LIMIT ${VALUES_MAX + 1}
       )
       SELECT value, value GLOB ? AS matches FROM found WHERE value IS NOT NULL`,
    )
    .all(glob)
  if (rows.length > VALUES_MAX) return undefined
  return rows.flatMap(({ value, matches }) => (matches === 1 ? [String(value)] : []))
}

/** The index of the condition that the fewest rows meet, if they are few: SQLite would have to guess. */
function rarest(
  db: DatabaseSync,
  indexed: ReadonlyMap<string, string>,
  values: Readonly<Record<string, SQLInputValue>>,
): string | undefined {
  let best: string | undefined
  let fewest = SORTED_MAX
  for (const [index, condition] of indexed) {
    const [, name = ''] = /:(\w+)/.exec(condition) ?? []
    const { count } =
      db
        .prepare(
          `SELECT count(*) AS count FROM (SELECT 1 FROM audit INDEXED BY ${index} WHERE ${condition} LIMIT ${fewest})`,
        )
        .get({ [name]: values[name] ?? null }) ?? {}
    if (Number(count) >= fewest) continue
    fewest = Number(count)
    best = index
    if (fewest === 0) break
  }
  return best
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
