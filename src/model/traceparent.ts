/** One request's place in a trace. @see W3C Trace Context, section 3.2 */
export interface TraceContext {
  /** 32 hexadecimal digits. */
  traceId: string
  /** 16 hexadecimal digits: the operation that asks. */
  spanId: string
  /** Of these only the last bit has a meaning here: the asker keeps a record of the trace. */
  flags: number
}

/** Version 00, and later ones as far as they look like it; no version is ff, no id is all zeros. */
export const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/

/** @returns undefined when it is malformed: a trace begins anew then */
export function parseTraceparent(text: string | undefined): TraceContext | undefined {
  const [, traceId, spanId, flags = ''] = TRACEPARENT.exec(text ?? '') ?? []
  if (traceId === undefined || spanId === undefined) return undefined
  return { traceId, spanId, flags: Number.parseInt(flags, 16) }
}

export const formatTraceparent = ({ traceId, spanId, flags }: TraceContext): string =>
  `00-${traceId}-${spanId}-${flags.toString(16).padStart(2, '0')}`

/**
 * The beginning of a trace that nobody has recorded yet: whether to do so is for those that are asked.
 *
 * @param random 24 bytes
 */
export function newTraceparent(random: Buffer): string {
  return formatTraceparent({ traceId: random.toString('hex', 0, 16), spanId: random.toString('hex', 16, 24), flags: 0 })
}
