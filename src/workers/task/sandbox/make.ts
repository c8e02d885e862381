import { closeSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { PresentSandbox, SandboxAny } from '../../../commands/sandbox-record.ts'
import { whileWanted } from '../../../model/concurrency.ts'
import { errorCodeOf, PurserError } from '../../../model/errors.ts'
import { ofSandbox } from '../../../network/owners.ts'
import type { Job } from '../../../queue/handler.ts'
import { makeHeldStreams } from '../../../shim/held-streams.ts'
import type { Shim } from '../../../shim/shim.ts'
import type { TaskRequest } from '../../../shim/shims.ts'
import type { AnyMessage } from '../../../shim/task-stats.ts'
import type { TaskEffects } from '../effects.ts'
import { type LiveSandbox, liveSandbox } from './live-sandboxes.ts'
import { hasHostNetwork, hostnameOfSandbox, share, unshare } from './shared.ts'

const UNDO_MS = 60_000
/** How long a shim has to end what it keeps, before it is killed. */
const END_MS = 10_000

type SandboxJob = Job<unknown, unknown, TaskEffects>

export const identityOf = (
  { effects, namespace, id }: Pick<SandboxJob, 'effects' | 'namespace' | 'id'>,
  runtime: string,
): TaskRequest => ({ namespace, id, runtime, bundle: effects.paths.sandbox(namespace, id) })

/**
 * What containers of a sandbox share, and the shim that has them. What an earlier attempt has left is removed first: nothing
 * is in it yet.
 *
 * @throws PurserError of what failed; nothing of it is left then
 */
export async function makeSandbox(job: SandboxJob, state: Pick<PresentSandbox, 'made'>): Promise<LiveSandbox> {
  const { effects, signal } = job
  const { made } = state
  const identity = identityOf(job, made.runtime)
  const { bundle, runtime } = identity
  await removeSandbox(effects, identity)
  await using undo = job.undoStack()
  undo.defer(() => removeSandbox(effects, identity))
  mkdirSync(bundle, { recursive: true, mode: 0o711 })
  await share(job, bundle, state)
  writeFileSync(join(bundle, 'config.json'), configOf(job.id, state), { mode: 0o600 })
  const shim = await startShim(job, identity, state)
  const live = liveSandbox(identity, made.sandboxer, shim)
  undo.defer(() => shim.disconnect())
  if (made.sandboxer === 'shim') {
    const owner = { namespace: job.namespace, id: ofSandbox(job.id) }
    const netns = hasHostNetwork(made) ? undefined : effects.networks.netnsOf(owner)
    const asked = { bundle, netns, options: anyOf(made.options), annotations: made.annotations }
    await shim.sandbox.create(asked, signal).catch((error: unknown) => {
      throw errorCodeOf(error) === 'unimplemented' ? keepsNone(runtime, error) : error
    })
  }
  undo.move()
  effects.sandboxes.adopt(live)
  return live
}

/** After all that is mounted for the sandbox: a shim may see only what is there when it starts. */
async function startShim(
  { effects, signal }: SandboxJob,
  identity: TaskRequest,
  { made }: Pick<PresentSandbox, 'made'>,
): Promise<Shim> {
  const readFds = makeHeldStreams(identity.bundle)
  try {
    return await effects.shims.startForSandbox({ ...identity, readFds, options: anyOf(made.runtimeOptions), signal })
  } finally {
    for (const fd of readFds) closeSync(fd)
  }
}

const keepsNone = (runtime: string, cause: unknown): PurserError =>
  new PurserError('failed_precondition', `the shim of runtime ${runtime} keeps no sandboxes`, {
    remedy: 'use --sandboxer podsandbox, or a runtime whose shim serves containerd.runtime.sandbox.v1',
    field: 'sandboxer',
    cause,
  })

/** Ends what there is of a sandbox, shim and all, and gives back what it held; safe to repeat. */
export async function removeSandbox(
  { shims, sandboxes, networks }: Pick<TaskEffects, 'shims' | 'sandboxes' | 'networks'>,
  identity: TaskRequest,
): Promise<void> {
  const live = sandboxes.get(identity.namespace, identity.id)
  if (live) {
    sandboxes.forget(live)
    await endShim(live).catch(() => {}) // It is killed then.
    live.shim.disconnect()
  }
  await shims.removeRemains({ ...identity, signal: AbortSignal.timeout(UNDO_MS) })
  await unshare({ networks }, identity)
}

async function endShim({ shim, sandboxer }: LiveSandbox): Promise<void> {
  if (shim.isClosed) return
  const within = AbortSignal.timeout(END_MS)
  if (sandboxer === 'podsandbox') return await shim.shutdown(within)
  await shim.sandbox.shutdown(within)
  await whileWanted(shim.closed, within)
}

/** What the shim finds in its bundle: what the client has given, or as much as tells what it is. */
function configOf(id: string, { made }: Pick<PresentSandbox, 'made'>): string | Buffer {
  if (made.spec !== undefined) return Buffer.from(made.spec.value, 'base64')
  const annotations = {
    ...made.annotations,
    'io.kubernetes.cri.container-type': 'sandbox',
    'io.kubernetes.cri.sandbox-id': id,
  }
  return JSON.stringify({ ociVersion: '1.0.2', hostname: hostnameOfSandbox(made, id), annotations })
}

const anyOf = (message: SandboxAny | undefined): AnyMessage | undefined =>
  message && { typeUrl: message.typeUrl, value: Buffer.from(message.value, 'base64') }
