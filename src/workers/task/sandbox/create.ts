import { recordConflict, sandbox } from '../../../commands/sandbox.ts'
import { errorCodeOf, PurserError, toPurserError } from '../../../model/errors.ts'
import { defineTaskHandler } from '../effects.ts'
import { makeSandbox } from './make.ts'
import { connectionOf } from './shared.ts'

/** Namespaces, network, shim: what containers can be put in once it is started. */
export const createSandbox = defineTaskHandler(sandbox, 'sandbox.create', async (job) => {
  const { id, namespace, payload, effects, signal } = job
  if (job.state.status === 'absent') {
    job.decide()
    const runtime = payload.runtime ?? effects.sandboxRuntime
    const record = { ...payload, runtime, network: payload.network ?? effects.defaultNetwork }
    const conflict = recordConflict(record)
    if (conflict) {
      const { field, message } = conflict
      throw new PurserError('invalid_argument', `${field}: ${message}`, { remedy: 'leave it out', field })
    }
    await effects.shims.reports.require(runtime)
    if (payload.sandboxer === 'podsandbox' && !effects.shims.runsOnTheHost(runtime)) throw notOnTheHost(runtime)
    await job.append(sandbox.fact(id, 'sandbox.creating', record))
  }
  const { state } = job
  if (state.status !== 'creating') throw new PurserError('aborted', `sandbox ${id} is ${state.status} already`)
  try {
    // Redelivered, it may have been here that the log was lost.
    if (!effects.sandboxes.get(namespace, id)) await makeSandbox(job, state)
  } catch (thrown) {
    const error = toPurserError(thrown)
    if (errorCodeOf(thrown) !== undefined || !signal.aborted) {
      await job.append(sandbox.fact(id, 'sandbox.create-failed', { error: error.message }))
    }
    throw error
  }
  return { facts: [sandbox.fact(id, 'sandbox.created', connectionOf(job))], result: { id } }
})

const notOnTheHost = (runtime: string): PurserError =>
  new PurserError('failed_precondition', `containers of runtime ${runtime} join no namespaces of the host`, {
    remedy: 'have its shim keep the sandbox: --sandboxer shim',
    field: 'sandboxer',
  })
