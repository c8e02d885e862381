import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'

/** Rows are looked at from the newest to the oldest, or the other way round. */
export type Order = 'newest' | 'oldest'

/** The positions of the rows that one condition holds for, in an order. */
export interface Positions {
  /** The first at a position or after it, in the order; undefined when there is none. */
  from(position: number): number | undefined
}

const isBefore = (order: Order, a: number, b: number): boolean => (order === 'newest' ? a > b : a < b)

const sqlOf = (order: Order) => (order === 'newest' ? { at: '<=', by: 'DESC' } : { at: '>=', by: 'ASC' })

/** Rows of which an indexed column has one value; all rows without a column. */
export function ofColumn(db: DatabaseSync, order: Order, column?: string, value: SQLInputValue = null): Positions {
  const { at, by } = sqlOf(order)
  const where = column === undefined ? '' : `${column} = :value AND`
  const next = db.prepare(
    `SELECT position FROM audit WHERE ${where} position ${at} :from ORDER BY position ${by} LIMIT 1`,
  )
  return { from: (from) => positionOf(next.get(column === undefined ? { from } : { from, value })) }
}

/** Rows of any of some classes: the first of each, merged. */
export function ofClasses(db: DatabaseSync, order: Order, classes: readonly number[]): Positions {
  const { at, by } = sqlOf(order)
  const next = db.prepare(
    `SELECT position FROM audit WHERE class = ? AND position ${at} ? ORDER BY position ${by} LIMIT 1`,
  )
  /** A heap: the first of all is at its top. */
  let heap: { of: number; position: number }[] | undefined
  const sink = (items: { of: number; position: number }[], index: number): void => {
    for (let parent = index; ; ) {
      let first = parent
      for (const child of [2 * parent + 1, 2 * parent + 2]) {
        const [a, b] = [items[child], items[first]]
        if (a && b && isBefore(order, a.position, b.position)) first = child
      }
      const [a, b] = [items[parent], items[first]]
      if (first === parent || !a || !b) return
      items[parent] = b
      items[first] = a
      parent = first
    }
  }
  const start = (from: number) => {
    const items = classes.flatMap((of) => {
      const position = positionOf(next.get(of, from))
      return position === undefined ? [] : [{ of, position }]
    })
    for (let index = (items.length >> 1) - 1; index >= 0; index--) sink(items, index)
    return items
  }
  return {
    from(from) {
      heap ??= start(from)
      for (;;) {
        const top = heap[0]
        if (top === undefined || !isBefore(order, top.position, from)) return top?.position
        const position = positionOf(next.get(top.of, from))
        if (position !== undefined) top.position = position
        else {
          const last = heap.pop()
          if (last !== undefined && last !== top) heap[0] = last
        }
        sink(heap, 0)
      }
    },
  }
}

/** A few positions that are known. */
export function ofList(order: Order, positions: readonly number[]): Positions {
  const sorted = positions.toSorted((a, b) => (order === 'newest' ? b - a : a - b))
  let at = 0
  return {
    from(from) {
      while (isBefore(order, sorted[at] ?? from, from)) at += 1
      return sorted[at]
    },
  }
}

const WORDS_AT_ONCE_MAX = 512

/**
 * Rows with some words. Asking takes a while, so several are fetched at once: more when those before were of use, one alone when
 * they were leapt over.
 */
export function ofWords(db: DatabaseSync, order: Order, search: string): Positions {
  const { at, by } = sqlOf(order)
  const next: StatementSync = db.prepare(
    `SELECT rowid AS position FROM audit_text WHERE audit_text MATCH ? AND rowid ${at} ? ORDER BY rowid ${by} LIMIT ?`,
  )
  let known: number[] = []
  let index = 0
  let used = 0
  let isWhole = false
  return {
    from(from) {
      while (index < known.length && isBefore(order, known[index] ?? from, from)) index += 1
      if (index >= known.length && !isWhole) {
        const limit = Math.min(WORDS_AT_ONCE_MAX, Math.max(1, used * 4))
        known = next.all(search, from, limit).map(({ position }) => Number(position))
        isWhole = known.length < limit
        index = 0
        used = 0
      }
      used += 1
      return known[index]
    },
  }
}

const positionOf = (row: Record<string, SQLInputValue> | undefined): number | undefined =>
  row === undefined ? undefined : Number(row.position)
