import type { ServerResponse } from 'node:http'

/** @see distribution-spec, "Error Codes" */
const ERRORS = {
  BLOB_UNKNOWN: 404,
  DENIED: 403,
  DIGEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_UNKNOWN: 404,
  TOOMANYREQUESTS: 429,
  UNAUTHORIZED: 401,
  UNAVAILABLE: 503,
  UNSUPPORTED: 405,
} as const

export type RegistryErrorCode = keyof typeof ERRORS

export function fail(
  response: ServerResponse,
  code: RegistryErrorCode,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  json(response, ERRORS[code], { errors: [{ code, message }] }, headers)
}

export function json(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  const text = JSON.stringify(body)
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    ...headers,
  })
  response.end(response.req.method === 'HEAD' ? undefined : text)
}

export interface ByteRange {
  start: number
  /** The last byte. */
  end: number
}

/**
 * The one range that a request asks for.
 *
 * @returns undefined for the whole; 'unsatisfiable' beyond its end
 * @see RFC 9110 section 14.2: what is not understood is ignored
 */
export function rangeOf(header: string | undefined, sizeBytes: number): ByteRange | 'unsatisfiable' | undefined {
  const [, first = '', last = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '') ?? []
  if (first === '' && last === '') return undefined
  if (first === '') {
    const length = Math.min(Number(last), sizeBytes)
    return length === 0 ? 'unsatisfiable' : { start: sizeBytes - length, end: sizeBytes - 1 }
  }
  const start = Number(first)
  if (start >= sizeBytes) return 'unsatisfiable'
  if (last !== '' && Number(last) < start) return undefined
  return { start, end: last === '' ? sizeBytes - 1 : Math.min(Number(last), sizeBytes - 1) }
}
