import { PurserError, toPurserError } from '../../../model/errors.ts'
import { readCriuErrors } from '../../../shim/criu-log.ts'

/** What CRIU asks for by its own options, as ours. */
const REMEDIES: readonly (readonly [RegExp, string])[] = [
  [/tcp-established/, 'make it with --tcp-established, or end the connections first'],
  [/file-locks|file lock/i, 'make it with --file-locks'],
  [/ext-unix-sk|external.*unix|unix.*external/i, 'make it with --ext-unix-sk'],
  [/No space left/, 'make room on the disk'],
]

/**
 * A runtime's answer that CRIU has failed, with what CRIU itself has logged.
 *
 * @param what that could not be done, as a sentence
 */
export async function criuFailure(what: string, thrown: unknown, log: string): Promise<PurserError> {
  const error = toPurserError(thrown)
  const [first, ...others] = await readCriuErrors(log)
  if (first === undefined) return new PurserError(error.code, `${what}: ${error.message}`, { cause: thrown })
  const remedy = REMEDIES.find(([pattern]) => [first, ...others].some((text) => pattern.test(text)))?.[1]
  return new PurserError('failed_precondition', `${what}: CRIU says: ${first}`, {
    cause: thrown,
    ...(remedy === undefined ? {} : { remedy }),
  })
}
