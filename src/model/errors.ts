/**
 * The error codes of every surface, in one table: gRPC status, HTTP status, process exit status.
 *
 * @see gRPC status codes; RFC 9110 section 15; sysexits(3)
 */
export const ERROR_CODES = {
  cancelled: { grpc: 1, http: 499, exit: 75 },
  unknown: { grpc: 2, http: 500, exit: 70 },
  invalid_argument: { grpc: 3, http: 400, exit: 64 },
  deadline_exceeded: { grpc: 4, http: 504, exit: 75 },
  not_found: { grpc: 5, http: 404, exit: 66 },
  already_exists: { grpc: 6, http: 409, exit: 73 },
  permission_denied: { grpc: 7, http: 403, exit: 77 },
  resource_exhausted: { grpc: 8, http: 507, exit: 73 }, // disk full, too many of something
  failed_precondition: { grpc: 9, http: 412, exit: 65 }, // the thing is not in the state this needs
  aborted: { grpc: 10, http: 409, exit: 75 }, // version conflict or lost lock: retry
  out_of_range: { grpc: 11, http: 416, exit: 64 },
  unimplemented: { grpc: 12, http: 501, exit: 69 },
  internal: { grpc: 13, http: 500, exit: 70 },
  unavailable: { grpc: 14, http: 503, exit: 69 }, // Redis, a registry or the daemon is away: retry later
  data_loss: { grpc: 15, http: 502, exit: 65 }, // the bytes are not what their digest says
  unauthenticated: { grpc: 16, http: 401, exit: 77 },
} as const satisfies Record<string, { grpc: number; http: number; exit: number }>

export type ErrorCode = keyof typeof ERROR_CODES

/** An error as it is stored in the log and sent to clients: plain JSON, no stack, no secret. */
export interface ErrorBody {
  code: ErrorCode
  message: string
  /** What the user can do about it, as one clause. */
  remedy?: string
  /** Names the field at fault, where there is one: a path such as `payload.image`. */
  field?: string
}

/** The one error class: what happened, with which value, and what to do. */
export class PurserError extends Error {
  readonly code: ErrorCode
  readonly remedy: string | undefined
  readonly field: string | undefined

  constructor(code: ErrorCode, message: string, more: { remedy?: string; field?: string; cause?: unknown } = {}) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause })
    this.name = 'PurserError'
    this.code = code
    this.remedy = more.remedy
    this.field = more.field
  }

  toBody(): ErrorBody {
    return {
      code: this.code,
      message: this.message,
      ...(this.remedy === undefined ? {} : { remedy: this.remedy }),
      ...(this.field === undefined ? {} : { field: this.field }),
    }
  }

  static fromBody(body: ErrorBody): PurserError {
    return new PurserError(body.code, body.message, body)
  }
}

const ERRNO_CODES: Record<string, ErrorCode> = {
  ENOSPC: 'resource_exhausted',
  EDQUOT: 'resource_exhausted',
  EMFILE: 'resource_exhausted',
  ENFILE: 'resource_exhausted',
  ENOMEM: 'resource_exhausted',
  EACCES: 'permission_denied',
  EPERM: 'permission_denied',
  EROFS: 'failed_precondition',
}

const ERRNO_REMEDIES: Record<string, string> = {
  ENOSPC: 'free space on the disk that holds the root directory: purser rmi, purser gc',
}

/** Anything thrown, as a PurserError: errno by table, abort reasons by their name, the rest `internal`. */
export function toPurserError(thrown: unknown): PurserError {
  if (thrown instanceof PurserError) return thrown
  if (!(thrown instanceof Error)) return new PurserError('internal', String(thrown))
  if (thrown.name === 'TimeoutError') return new PurserError('deadline_exceeded', 'it took too long', { cause: thrown })
  if (thrown.name === 'AbortError') {
    return thrown.cause instanceof PurserError
      ? thrown.cause
      : new PurserError('cancelled', 'cancelled', { cause: thrown })
  }
  const errno = 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined
  const code = errno === undefined ? undefined : ERRNO_CODES[errno]
  const remedy = errno === undefined ? undefined : ERRNO_REMEDIES[errno]
  return new PurserError(code ?? 'internal', thrown.message, {
    cause: thrown,
    ...(remedy === undefined ? {} : { remedy }),
  })
}

export function errorCodeOf(thrown: unknown): ErrorCode | undefined {
  return thrown instanceof PurserError ? thrown.code : undefined
}
