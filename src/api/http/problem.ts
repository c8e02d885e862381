import { STATUS_CODES } from 'node:http'
import { z } from 'zod'
import { ERROR_CODES, type ErrorBody, type ErrorCode, PurserError, toPurserError } from '../../model/errors.ts'
import type { Answer } from './route.ts'

export const PROBLEM_TYPE = 'application/problem+json'

/** @see RFC 9457 section 3 */
export const problemSchema = z.strictObject({
  type: z.literal('about:blank'),
  title: z.string().describe('the code'),
  status: z.int().describe('the HTTP status'),
  detail: z.string().describe('what happened, with which value'),
  code: z.enum(Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]]),
  remedy: z.string().optional().describe('what to do about it'),
  field: z.string().optional().describe('the field at fault: payload.image'),
  command: z.uuid().optional().describe('id of the command that failed'),
  position: z.int().optional().describe('of the last event that was sent, or that retention dropped: resume after it'),
})

export type Problem = z.output<typeof problemSchema>

export function problemOf(
  { code, message, remedy, field }: ErrorBody,
  more: { status?: number; command?: string; position?: number } = {},
) {
  const problem: Problem = {
    type: 'about:blank',
    title: code,
    status: more.status ?? ERROR_CODES[code].http,
    detail: message,
    code,
    ...(remedy === undefined ? {} : { remedy }),
    ...(field === undefined ? {} : { field }),
    ...(more.command === undefined ? {} : { command: more.command }),
    ...(more.position === undefined ? {} : { position: more.position }),
  }
  return problem
}

export function problemAnswer(problem: Problem): Answer {
  return {
    status: problem.status,
    body: Buffer.from(JSON.stringify(problem)),
    headers: { 'content-type': PROBLEM_TYPE },
  }
}

/** Errors of the HTTP layer itself, by their codes; the statuses that ERROR_CODES has no code for come from here. */
const HTTP_ERRORS: Record<string, { status: number; message: string; remedy: string }> = {
  FST_ERR_BAD_URL: { status: 400, message: 'the path is not well-formed', remedy: 'percent-encode it' },
  FST_ERR_CTP_BODY_TOO_LARGE: { status: 413, message: 'the body is too large', remedy: 'send 1 MiB at most' },
  FST_ERR_CTP_EMPTY_JSON_BODY: { status: 400, message: 'the body is empty, not JSON', remedy: 'send a JSON object' },
  FST_ERR_CTP_INVALID_JSON_BODY: { status: 400, message: 'the body is not JSON', remedy: 'send a JSON object' },
  FST_ERR_CTP_INVALID_MEDIA_TYPE: {
    status: 415,
    message: 'the body is of a type that is not understood',
    remedy: 'send JSON with Content-Type: application/json',
  },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, message: 'the request did not arrive in time', remedy: 'send it at once' },
  HPE_HEADER_OVERFLOW: { status: 431, message: 'the headers are too large', remedy: 'send 16 KiB at most' },
}

/** Whatever was thrown while a request was read or handled. */
export function problemOfThrown(thrown: unknown): Problem {
  if (thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string') {
    const known = HTTP_ERRORS[thrown.code]
    if (known) return ofHttp(known.status, `${known.message}${causeOf(thrown)}`, known.remedy)
    if (/^(FST|HPE)_/.test(thrown.code)) {
      const status = 'statusCode' in thrown && typeof thrown.statusCode === 'number' ? thrown.statusCode : 400
      return ofHttp(status, thrown.message, 'see /v1/openapi.json for what is expected')
    }
  }
  // Also what the JSON parser says of itself, such as that a key is __proto__.
  if (thrown instanceof SyntaxError && 'statusCode' in thrown) {
    return ofHttp(400, `the body is not JSON: ${thrown.message}`, 'send a JSON object')
  }
  return problemOf(toPurserError(thrown).toBody())
}

export function unknownRoute(method: string, path: string): Problem {
  const error = new PurserError('not_found', `${method} ${path.slice(0, 200)} is not served here`, {
    remedy: 'see /v1/openapi.json for what is',
  })
  return problemOf(error.toBody())
}

/** @param allowed the methods that the path has @see RFC 9110 section 15.5.6 */
export function wrongMethod(method: string, path: string, allowed: readonly string[]): Answer {
  const allow = allowed.join(', ')
  const problem = ofHttp(405, `${method} is not a method of ${path.slice(0, 200)}`, `use ${allow}`)
  const answer = problemAnswer(problem)
  return { ...answer, headers: { ...answer.headers, allow } }
}

/** For where there is no response object: a request that could not be read, an upgrade that is refused. */
export function rawProblem(problem: Problem): string {
  const body = JSON.stringify(problem)
  return [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? 'Error'}`,
    `Content-Type: ${PROBLEM_TYPE}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
    '',
    body,
  ].join('\r\n')
}

function ofHttp(status: number, message: string, remedy: string): Problem {
  const code: ErrorCode = status >= 500 ? 'internal' : 'invalid_argument'
  return problemOf({ code, message, remedy }, { status })
}

const causeOf = (error: Error): string => (error.cause instanceof Error ? `: ${error.cause.message}` : '')
