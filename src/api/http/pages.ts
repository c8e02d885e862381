import { z } from 'zod'
import { PurserError } from '../../model/errors.ts'

export const PAGE_ITEMS_MAX = 1000

/** The query of every list. */
export const paging = {
  limit: z.coerce.number().int().min(1).max(PAGE_ITEMS_MAX).default(PAGE_ITEMS_MAX).describe('items of a page'),
  cursor: z.string().max(8192).optional().describe('`next` of the page before'),
}

/** Opaque to clients: the key of the last item that a page holds. */
export const cursorOf = (key: string): string => Buffer.from(key).toString('base64url')

/** @throws PurserError invalid_argument */
export function keyOfCursor(cursor: string): string {
  const key = Buffer.from(cursor, 'base64url').toString()
  if (key !== '' && cursorOf(key) === cursor) return key
  throw new PurserError('invalid_argument', `cursor: ${JSON.stringify(cursor.slice(0, 100))} is not one of ours`, {
    field: 'cursor',
    remedy: 'send the `next` of the page before as it is, or none to begin',
  })
}

/** The items of one page and, when more may follow, the cursor to them. */
export function pageOf<T>(
  keys: Iterable<string>,
  limit: number,
  itemOf: (key: string) => T | undefined,
): { items: T[]; next?: string } {
  const items: T[] = []
  let last = ''
  for (const key of keys) {
    const item = itemOf(key)
    if (item === undefined) continue
    if (items.length === limit) return { items, next: cursorOf(last) }
    items.push(item)
    last = key
  }
  return { items }
}
