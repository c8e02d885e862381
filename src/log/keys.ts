/** The Redis keys of one node's books. The hash tag keeps them in one slot of a Redis Cluster. */
export interface LogKeys {
  /** What all of them begin with. */
  prefix: string
  /** Stream of events; entry ids are POSITION-0. */
  events: string
  /** Hash: `epoch` of the daemon that may write, `head` position. */
  meta: string
  /** Hash: command id → fencing token of the attempt that may write for it. */
  fences: string
  /** Hash of one aggregate's documents: NAMESPACE/ID → `VERSION JSON`. */
  documents(aggregate: string): string
  /** Stream: entries that were found in `events` and that no append wrote. */
  quarantine: string
  /** String, expiring: what an idempotency key was used for. */
  idempotency(namespace: string, key: string): string
}

export function logKeys(node: string, prefix = 'purser'): LogKeys {
  const base = `${prefix}:{${node}}`
  return {
    prefix: `${base}:`,
    events: `${base}:events`,
    meta: `${base}:meta`,
    fences: `${base}:fences`,
    quarantine: `${base}:quarantine`,
    documents: (aggregate) => `${base}:state:${aggregate}`,
    idempotency: (namespace, key) => `${base}:idempotency:${namespace}:${key}`,
  }
}
