import type { Entry } from '../../model/aggregate.ts'

interface Text {
  /** A comma, then the JSON. */
  item: Buffer
  namespace: string
  id: string
  version: number
  also: unknown
}

const COMMA = 1

/**
 * What lists show of each entry, as bytes of JSON. It is made once for each state: states are replaced when they change, never altered,
 * and what was made of one goes with it.
 */
export class ShownTexts {
  readonly #texts = new WeakMap<object, Text>()

  /**
   * @param also another state that the view depends on
   * @param view makes what is shown
   */
  of({ namespace, id, version, state }: Entry<object>, also: unknown, view: () => object): Buffer {
    const known = this.#texts.get(state)
    const holds = known?.version === version && known.also === also && known.id === id && known.namespace === namespace
    if (known && holds) return known.item
    const item = Buffer.from(`,${JSON.stringify(view())}`)
    this.#texts.set(state, { item, namespace, id, version, also })
    return item
  }
}

/** The JSON of a page of such items. */
export function pageText({ items, next }: { items: readonly Buffer[]; next?: string }): Buffer {
  const begin = Buffer.from('{"items":[')
  const end = Buffer.from(`]${next === undefined ? '' : `,"next":${JSON.stringify(next)}`}}`)
  const [first, ...rest] = items
  return Buffer.concat(first === undefined ? [begin, end] : [begin, first.subarray(COMMA), ...rest, end])
}
