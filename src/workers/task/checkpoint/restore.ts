import { existsSync, mkdirSync, realpathSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Checkpoint, type CheckpointMode, checkpointOf } from '../../../commands/checkpoints.ts'
import type { PresentContainer } from '../../../commands/container.ts'
import { survivorsOf } from '../../../host/survivors.ts'
import { PurserError } from '../../../model/errors.ts'
import { raiseLoopback } from '../../../network/netns.ts'
import { type NetworkMode, networkMode } from '../../../oci/spec/network-mode.ts'
import type { Spec } from '../../../oci/spec/schema.ts'
import type { Job } from '../../../queue/handler.ts'
import { criuWorkOf } from '../../../shim/restore-remains.ts'
import type { Shim } from '../../../shim/shim.ts'
import type { TaskEffects } from '../effects.ts'
import { CheckpointFiles } from './checkpoint-files.ts'
import { criuFailure } from './criu-failure.ts'

/** Not cut short by a cancellation: whether the processes run would not be known. */
const RESTORE_MS = 120_000

/** What a task is restored from, instead of its program being started. */
export interface Restore {
  name: string
  /** Directory with the images. */
  images: string
  mode: CheckpointMode
  network: NetworkMode['kind'] | undefined
}

/**
 * Finds a checkpoint of a container, and that it can be restored here. What the task is made of is not in it: that is the
 * container's record, as for any other task.
 *
 * @throws PurserError not_found, failed_precondition with what is in the way
 */
export async function restoreFrom(
  { effects, namespace, id }: Pick<Job<unknown, unknown, TaskEffects>, 'effects' | 'namespace' | 'id'>,
  made: PresentContainer,
  name: string,
): Promise<Restore> {
  const { shims, paths, architecture } = effects
  const found = checkpointOf(made, name)
  if (found === undefined) {
    throw new PurserError('not_found', `container ${id} has no checkpoint ${name}`, {
      remedy: `purser checkpoint ls ${id} lists what there is`,
    })
  }
  const { version } = await shims.reports.requireCheckpoints(made.runtime)
  requireLike(`checkpoint ${name} of container ${id}`, found, { runtime: made.runtime, criu: version, architecture })
  const { images } = new CheckpointFiles(paths.checkpoints(namespace, id), name)
  return { name, images, mode: found.mode, network: networkMode(made.options.network)?.kind }
}

/** By what a checkpoint was made, and is to be restored. */
type Maker = Pick<Checkpoint, 'runtime' | 'criu' | 'architecture'>

/** @param what of which it is said @throws PurserError failed_precondition where it cannot be restored by what there is here */
export function requireLike(what: string, found: Maker, here: Maker): void {
  const refuse = (why: string, remedy: string) => {
    throw new PurserError('failed_precondition', `${what} ${why}`, { remedy })
  }
  if (found.runtime !== here.runtime) {
    refuse(`is of runtime ${found.runtime}, not ${here.runtime}`, `--runtime ${found.runtime}`)
  }
  if (found.architecture !== here.architecture) {
    refuse(`is of ${found.architecture}, not ${here.architecture}`, 'restore it on such a machine')
  }
  if (majorOf(found.criu) !== majorOf(here.criu)) {
    refuse(`was made by CRIU ${found.criu}, and here is ${here.criu}`, `install CRIU ${majorOf(found.criu)}`)
  }
}

const majorOf = (version: string): string => version.split('.')[0] ?? ''

/** A specification as CRIU takes it. It mounts a symlink as such, where the runtime would have followed it. */
export function specForRestore(spec: Spec, bundle: string, { mode }: Restore): Spec {
  const mounts = spec.mounts.map((mount) =>
    mount.type === 'bind' ? { ...mount, source: realpathSync(mount.source) } : mount,
  )
  const config = criuConfig(bundle, mode)
  const annotations = { ...spec.annotations, ...(config === undefined ? {} : { [CRIU_CONFIG]: config }) }
  return { ...spec, mounts, annotations }
}

/** @see runc, libcontainer/criu_linux.go, handleCriuConfigurationFile */
const CRIU_CONFIG = 'org.criu.config'

/** The shim does not hand on what a restore is to be allowed: CRIU reads it from a file. @returns its path, if it is needed */
function criuConfig(bundle: string, { tcp, unixSockets, fileLocks }: CheckpointMode): string | undefined {
  const kept = [
    ...(tcp === 'keep' ? ['tcp-established'] : []),
    ...(unixSockets === 'keep' ? ['ext-unix-sk'] : []),
    ...(fileLocks === 'keep' ? ['file-locks'] : []),
  ]
  if (kept.length === 0) return undefined
  const path = join(bundle, 'criu.conf')
  mkdirSync(bundle, { recursive: true, mode: 0o711 })
  writeFileSync(path, `${kept.join('\n')}\n`, { mode: 0o600 })
  return path
}

const logOf = (bundle: string): string => join(criuWorkOf(bundle), 'restore.log')

/** Whether processes may have gone on of a restore that was cut off: it logs before it makes them. */
export const mayHaveGoneOn = (bundle: string): boolean => existsSync(logOf(bundle))

/** Has the processes of a task that was created from a checkpoint go on. */
export async function restore(shim: Shim, { name, network }: Restore): Promise<{ pid: number }> {
  const within = AbortSignal.timeout(RESTORE_MS)
  const { pid } = await shim.start({}, within).catch(async (thrown: unknown) => {
    const what = `container ${shim.id} cannot be restored from checkpoint ${name}`
    throw await criuFailure(what, thrown, logOf(shim.bundle))
  })
  if (network === 'none') {
    // A namespace that the runtime has made is restored empty.
    await raiseLoopback(`/proc/${pid}/ns/net`, within).catch((error) => {
      if (survivorsOf([pid]).length > 0) throw error // It may have ended by now.
    })
  }
  return { pid }
}
