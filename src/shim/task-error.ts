import { PurserError, toPurserError } from '../model/errors.ts'

// What containerd's shim, runc and crun put around the sentence that says what is wrong.
const WRAPPING = [
  /^failed to (?:create|start) (?:shim )?task: /,
  /^OCI runtime \w+ failed: /,
  /^(?:runc|crun) (?:create|run|exec|start) failed: /,
  /^exec failed: /,
  /^unable to start container process: /,
]

const CODE_SUFFIX = /: (?:unknown|not found|already exists|failed precondition|invalid argument)$/

const PROGRAM_MISSING =
  /(?:^exec: ".*": |^executable file `.*` )(?:executable file not found|not found in \$PATH|stat .*: no such file)/
/** Said by containerd's shim of a process whose end it knows of. */
const HAS_ENDED = /^cannot (?:resize|close|pause|resume|update|checkpoint) a (?:stopped|deleted) (?:container|process)/
// crun's words of a file without the permission, and of a directory.
const PROGRAM_REFUSED = /^exec: ".*": permission denied|^open executable: (?:Permission denied|Operation not permitted)/
const SOURCE_MISSING =
  /^error stat'ing file `(?<crun>.*)`: No such file|^error during container init: error mounting ".*" to rootfs at ".*": stat (?<runc>\/.*): no such file/

/**
 * A shim's answer, made readable. A runtime says with text alone that the program is missing or may not be executed, so
 * here, where the text enters, it becomes a code: `not_found` or `permission_denied`, with the field `process.args`.
 *
 * @param what of which task or process it is said
 */
export function readableTaskError(what: string, thrown: unknown): PurserError {
  const error = toPurserError(thrown)
  let message = error.message.replace(CODE_SUFFIX, '')
  for (const wrapping of WRAPPING) message = message.replace(wrapping, '')
  if (PROGRAM_MISSING.test(message)) {
    return new PurserError('not_found', `${what}: ${message}`, {
      field: 'process.args',
      remedy: 'name a program that is in the image, or mount one',
      cause: thrown,
    })
  }
  if (PROGRAM_REFUSED.test(message)) {
    return new PurserError('permission_denied', `${what}: ${message}`, {
      field: 'process.args',
      remedy: 'make the program executable for the user of the process',
      cause: thrown,
    })
  }
  const { crun, runc } = SOURCE_MISSING.exec(message)?.groups ?? {}
  const source = crun ?? runc
  if (source !== undefined) {
    return new PurserError('not_found', `${what}: there is no ${source} on the host, which is to be mounted`, {
      field: 'options.mounts',
      remedy: `make it first: mkdir ${source}`,
      cause: thrown,
    })
  }
  const code = error.code === 'unknown' && HAS_ENDED.test(message) ? 'failed_precondition' : error.code
  return new PurserError(code, `${what}: ${message}`, {
    cause: thrown,
    ...(error.remedy === undefined ? {} : { remedy: error.remedy }),
  })
}
