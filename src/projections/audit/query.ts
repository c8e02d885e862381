import type { DatabaseSync, SQLInputValue } from 'node:sqlite'
import { PurserError } from '../../model/errors.ts'
import { ofClasses, ofColumn, ofList, ofWords, type Positions } from './positions.ts'

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
  /** Fewer than asked for, or none, where finding more would have taken too long: `next` goes on from there. */
  items: AuditRow[]
  next?: string
}

/** What a row's class has. */
const OF_CLASS = ['namespace', 'uid', 'executable', 'surface', 'action', 'outcome', 'code'] as const
/** What rows have an index for. */
const OF_ROW = ['subject', 'actor', 'pid', 'command', 'correlation'] as const

/** When a page ends with what it has: reading holds the daemon's own thread. */
export interface PageBounds {
  /** It took so long … */
  ms: number
  /** … and has looked at so many positions; without an index it looks at many at once. */
  positions: number
}

const BOUNDS: PageBounds = { ms: 25, positions: 250 }
/** With more rows than that, a condition without an index of its own is looked at row by row. */
const LISTED_MAX = 2000
/** With more classes than that, their rows are not merged but looked at one by one. */
const MERGED_MAX = 2000
/** Positions that are looked at between two looks at the clock. */
const SCANNED_AT_ONCE = 10_000

// */c1: whatever has that id.
const ANY_AGGREGATE = /^\*\/[^*?]+$/
const isGlob = (text: string): boolean => /[*?]/.test(text)
const asGlob = (text: string): string => text.replaceAll('[', '[[]')

/** What is asked for: streams of positions that all must have, and conditions on a row that no stream stands for. */
interface Plan {
  streams: Positions[]
  conditions: string[]
  values: Record<string, SQLInputValue>
  /** The streams are of classes alone: `conditions` say the same. */
  scans: boolean
}

/**
 * A page of the rows that a filter lets through. Each condition that has an index gives positions in order; those that all of
 * them give are found by leaping from one to the other, so that it takes as long as the rarest of them has rows.
 */
export function pageOf(db: DatabaseSync, filter: AuditFilter, bounds = BOUNDS): AuditPage {
  const { order, limit } = filter
  const range = rangeOf(db, filter)
  const plan = planOf(db, filter)
  const begunAt = performance.now()
  const isEnough = (positions: number) => positions >= bounds.positions && performance.now() - begunAt > bounds.ms
  const found = plan.scans ? scan(db, plan, filter, range, isEnough) : leap(db, plan, filter, range, isEnough)
  const items = found.rows.slice(0, limit).map(viewOf)
  const last = found.rows.length > limit ? items.at(-1)?.position : found.reached
  const isEnd = last === undefined || (order === 'newest' ? last <= range.first : last >= range.last)
  return { items, ...(isEnd ? {} : { next: String(last) }) }
}

/** Rows, one more than a page has if there are so many, and how far was looked when that was not to the end. */
interface Found {
  rows: Record<string, unknown>[]
  reached?: number
}

type IsEnough = (positions: number) => boolean

interface Range {
  first: number
  last: number
}

function rangeOf(db: DatabaseSync, { order, after, through, cursor }: AuditFilter): Range {
  const newest = Number(db.prepare('SELECT max(position) AS position FROM audit').get()?.position ?? 0)
  const from = cursorOf(cursor)
  const range = { first: (after ?? 0) + 1, last: Math.min(newest, through ?? newest) }
  if (from === undefined) return range
  return order === 'newest'
    ? { ...range, last: Math.min(range.last, from - 1) }
    : { ...range, first: Math.max(range.first, from + 1) }
}

const SELECT = `SELECT position, time, namespace, actor, uid, pid, executable, surface, action, subject, command, parent, correlation,
  outcome, code, message, ended, duration_ms FROM audit JOIN classes USING (class)`

function leap(db: DatabaseSync, plan: Plan, { order, limit }: AuditFilter, range: Range, isEnough: IsEnough): Found {
  const { streams, conditions, values } = plan
  const fetch = db.prepare(`${SELECT} WHERE ${['position = :position', ...conditions].join(' AND ')}`)
  const step = order === 'newest' ? -1 : 1
  const rows: Record<string, unknown>[] = []
  let at = order === 'newest' ? range.last : range.first
  for (let looked = 0; at >= range.first && at <= range.last && rows.length <= limit; looked++) {
    if (isEnough(looked)) return { rows, reached: at - step }
    const agreed = agree(streams, at)
    if (agreed === undefined || agreed < range.first || agreed > range.last) break
    const row = fetch.get({ ...values, position: agreed })
    if (row !== undefined) rows.push(row)
    at = agreed + step
  }
  return { rows }
}

/** The first position at one or after it that all streams have. */
function agree(streams: readonly Positions[], position: number): number | undefined {
  for (let at = position, agreeing = 0, index = 0; ; index = (index + 1) % streams.length) {
    const next = streams[index]?.from(at)
    if (next === undefined) return undefined
    agreeing = next === at ? agreeing + 1 : 1
    if (agreeing >= streams.length) return next
    at = next
  }
}

function scan(db: DatabaseSync, plan: Plan, { order, limit }: AuditFilter, range: Range, isEnough: IsEnough): Found {
  const where = ['position BETWEEN :low AND :high', ...plan.conditions].join(' AND ')
  const direction = order === 'newest' ? 'DESC' : 'ASC'
  const some = db.prepare(`${SELECT} WHERE ${where} ORDER BY position ${direction} LIMIT :limit`)
  const rows: Record<string, unknown>[] = []
  let { first, last } = range
  while (first <= last && rows.length <= limit) {
    const low = order === 'newest' ? Math.max(first, last - SCANNED_AT_ONCE + 1) : first
    const high = order === 'newest' ? last : Math.min(last, first + SCANNED_AT_ONCE - 1)
    rows.push(...some.all({ ...plan.values, low, high, limit: limit + 1 - rows.length }))
    if (order === 'newest') last = low - 1
    else first = high + 1
    if (isEnough(SCANNED_AT_ONCE) && rows.length <= limit && first <= last)
      return { rows, reached: order === 'newest' ? low : high }
  }
  return { rows }
}

function planOf(db: DatabaseSync, filter: AuditFilter): Plan {
  const { order } = filter
  const plan: Plan = { streams: [], conditions: [], values: {}, scans: false }
  const condition = (sql: string, name: string, value: SQLInputValue) => {
    plan.conditions.push(sql)
    plan.values[name] = value
  }
  for (const column of OF_ROW) {
    const wanted = filter[column]
    if (wanted === undefined) continue
    if (column === 'subject' && ANY_AGGREGATE.test(String(wanted))) {
      plan.streams.push(ofColumn(db, order, 'target', String(wanted).slice(2)))
    } else if (typeof wanted === 'number' || !isGlob(wanted)) {
      plan.streams.push(ofColumn(db, order, column, wanted))
    } else {
      condition(`${column} GLOB :${column}`, column, asGlob(wanted))
      const few = beginningWith(db, column, wanted)
      if (few) plan.streams.push(ofList(order, few))
    }
  }
  if (filter.slowerThanMs !== undefined) {
    condition('duration_ms >= :slower', 'slower', filter.slowerThanMs)
    const few = fewOf(db, 'duration_ms >= ?', filter.slowerThanMs)
    if (few) plan.streams.push(ofList(order, few))
  }
  if (filter.text !== undefined) plan.streams.push(ofWords(db, order, searchOf(filter.text)))
  plan.scans = plan.streams.length === 0 && plan.conditions.length > 0
  const classes = classesOf(db, filter)
  if (classes === undefined) {
    if (plan.streams.length === 0) plan.streams.push(ofColumn(db, order))
  } else if (classes.length > 0 && (classes.length > MERGED_MAX || plan.scans)) {
    condition('class IN (SELECT value FROM json_each(:classes))', 'classes', JSON.stringify(classes))
    plan.scans = plan.streams.length === 0
  } else {
    plan.streams.push(ofClasses(db, order, classes))
    plan.scans = false
  }
  return plan
}

/** Those that a filter lets through; undefined when it says nothing about what a class has. */
function classesOf(db: DatabaseSync, filter: AuditFilter): number[] | undefined {
  const conditions: string[] = []
  const values: Record<string, SQLInputValue> = {}
  for (const column of OF_CLASS) {
    const wanted = filter[column]
    if (wanted === undefined) continue
    const globs = typeof wanted === 'string' && isGlob(wanted)
    conditions.push(globs ? `${column} GLOB :${column}` : `${column} = :${column}`)
    values[column] = globs ? asGlob(wanted) : wanted
  }
  if (conditions.length === 0) return undefined
  const found = db.prepare(`SELECT class FROM classes WHERE ${conditions.join(' AND ')}`).all(values)
  return found.map((row) => Number(row.class))
}

/** Positions of the rows that begin as a glob does, if they are few; undefined when it begins with a wildcard. */
function beginningWith(db: DatabaseSync, column: string, glob: string): number[] | undefined {
  const [beginning = ''] = glob.split(/[*?]/, 1)
  if (beginning === '') return undefined
  return fewOf(db, `${column} >= ? AND ${column} < ?`, beginning, `${beginning}\u{10ffff}`)
}

function fewOf(db: DatabaseSync, condition: string, ...values: SQLInputValue[]): number[] | undefined {
  const found = db.prepare(`SELECT position FROM audit WHERE ${condition} LIMIT ${LISTED_MAX + 1}`).all(...values)
  return found.length > LISTED_MAX ? undefined : found.map((row) => Number(row.position))
}

function viewOf(row: Record<string, unknown>): AuditRow {
  const { duration_ms, uid, ...rest } = row
  const fields = Object.entries({ ...rest, uid: uid === -1 ? null : uid, durationMs: duration_ms })
  return Object.fromEntries(fields.filter(([, value]) => value !== null && value !== '')) as unknown as AuditRow
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
