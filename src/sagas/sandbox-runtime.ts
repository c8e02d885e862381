import { sandboxes } from '../commands/sandbox-record.ts'
import { PurserError } from '../model/errors.ts'
import type { ProvisionSaga } from './unpacked-image.ts'

/**
 * The runtime of the sandbox that a container is to be in: one shim has them all.
 *
 * @returns undefined for a container that is in none
 * @throws PurserError not_found when there is no such sandbox, invalid_argument when another runtime is asked for
 */
export function sandboxRuntime({ namespace, payload, view }: ProvisionSaga): string | undefined {
  const { sandbox, runtime } = payload
  if (sandbox === undefined) return undefined
  const state = view.get(sandboxes, namespace, sandbox)
  if (state.status === 'absent') {
    throw new PurserError('not_found', `sandbox ${sandbox} is not in namespace ${namespace}`, {
      remedy: `purser sandbox create ${sandbox}`,
      field: 'sandbox',
    })
  }
  const own = state.made.runtime
  if (runtime === undefined || runtime === own) return own
  throw new PurserError('invalid_argument', `sandbox ${sandbox} is of runtime ${own}, not ${runtime}`, {
    remedy: `leave --runtime out, or make a sandbox with --runtime ${runtime}`,
    field: 'runtime',
  })
}
