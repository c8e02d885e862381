import type { Timestamp } from '@bufbuild/protobuf/wkt'

/**
 * A timestamp as RFC 3339 in UTC with nine digits, so that none is lost.
 *
 * @returns undefined for none, and for Go's zero time, which a shim sends for what has not happened
 */
export function formatTimestamp(timestamp: Timestamp | undefined): string | undefined {
  if (!timestamp || timestamp.seconds <= 0n) return undefined
  const seconds = new Date(Number(timestamp.seconds) * 1000).toISOString().slice(0, 19)
  return `${seconds}.${String(timestamp.nanos).padStart(9, '0')}Z`
}
