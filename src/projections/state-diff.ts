import type { Documents } from '../log/documents.ts'

export interface StateDocument {
  aggregate: string
  namespace: string
  id: string
  version: number
  state: unknown
}

export interface StateFilter {
  /** Without it all but commands, of which there are as many as there were requests. */
  aggregate?: string | undefined
  namespace?: string | undefined
  id?: string | undefined
}

export function* documentsOf(documents: Documents, filter: StateFilter): Generator<StateDocument> {
  for (const { name, initial } of documents.aggregates()) {
    if (filter.aggregate === undefined ? name === 'command' : name !== filter.aggregate) continue
    for (const { namespace, id, version, state } of documents.list({ name, initial }, filter.namespace)) {
      if (filter.id === undefined || filter.id === id) yield { aggregate: name, namespace, id, version, state }
    }
  }
}

export interface Difference {
  aggregate: string
  namespace: string
  id: string
  change: 'added' | 'removed' | 'changed'
  /** Dotted paths of what differs; none for what was added or removed as a whole. */
  fields: { path: string; before?: unknown; after?: unknown }[]
}

export function differencesOf(before: readonly StateDocument[], after: readonly StateDocument[]): Difference[] {
  const keyOf = ({ aggregate, namespace, id }: StateDocument) => JSON.stringify([aggregate, namespace, id])
  const old = new Map(before.map((document) => [keyOf(document), document]))
  const differences: Difference[] = []
  for (const document of after) {
    const { aggregate, namespace, id, version, state } = document
    const known = old.get(keyOf(document))
    old.delete(keyOf(document))
    if (known === undefined) differences.push({ aggregate, namespace, id, change: 'added', fields: [] })
    else if (known.version !== version) {
      const fields = fieldsOf('', known.state, state)
      if (fields.length > 0) differences.push({ aggregate, namespace, id, change: 'changed', fields })
    }
  }
  for (const { aggregate, namespace, id } of old.values())
    differences.push({ aggregate, namespace, id, change: 'removed', fields: [] })
  return differences
}

function fieldsOf(path: string, before: unknown, after: unknown): Difference['fields'] {
  if (JSON.stringify(before) === JSON.stringify(after)) return []
  if (!isRecord(before) || !isRecord(after))
    return [{ path, ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) }]
  const names = new Set([...Object.keys(before), ...Object.keys(after)])
  return [...names].flatMap((name) => fieldsOf(path === '' ? name : `${path}.${name}`, before[name], after[name]))
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
