import { ERROR_CODES, type PurserError, toPurserError } from '../../model/errors.ts'

/** Says on one line of stderr what went wrong, with which value, and what to do. @returns an exit status, of sysexits(3) */
export function failed(thrown: unknown, { debug }: { debug: boolean }): number {
  const error = toPurserError(thrown)
  process.stderr.write(`${errorLine(error)}\n`)
  if (debug) process.stderr.write(`${error.code}: ${error.stack}\n`)
  return ERROR_CODES[error.code].exit
}

/**
 * docker's exit status of what never ran: 127 when the program is not there, 126 when it may not be executed, 125 for
 * everything else, so that it can be told from the program's own.
 */
export function dockerStatus(thrown: unknown): 125 | 126 | 127 {
  const { field, code } = toPurserError(thrown)
  if (field !== 'process.args') return 125
  return code === 'permission_denied' ? 126 : 127
}

export function errorLine({ message, remedy }: PurserError): string {
  return `purser: ${message}${remedy === undefined ? '' : `; ${remedy}`}`.replaceAll(/\s*\n\s*/g, ' ')
}
