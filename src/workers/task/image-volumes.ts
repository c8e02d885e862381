import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, renameSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { dirname, posix } from 'node:path'
import { type ContainerState, container } from '../../commands/container.ts'
import { copyTreeWithin } from '../../host/copy-tree.ts'
import { type IdMap, mountTemporarily, type Mount as RootMount } from '../../host/mounts.ts'
import { PurserError } from '../../model/errors.ts'
import type { Mount } from '../../oci/spec/schema.ts'
import type { Job } from '../../queue/handler.ts'
import type { TaskEffects } from './effects.ts'
import { mountPoint } from './live-task.ts'
import type { TaskMount } from './task-mounts.ts'

type PresentContainer = Exclude<ContainerState, { status: 'absent' }>

const VOLUMES_MAX = 64

/**
 * What an image declares as volumes: directories of the container's own, beside its root file system, that begin with what the
 * image has there, outlive its tasks and go with its record. A mount of the options at the same place is instead of one.
 *
 * @param declared paths in the container, as the image has them
 * @param rootfs of a container that does not run
 * @throws PurserError failed_precondition when the image declares what cannot be one
 */
export async function imageVolumes(
  job: Job<unknown, unknown, TaskEffects>,
  made: PresentContainer,
  declared: readonly string[],
  rootfs: readonly RootMount[],
  owners: IdMap | undefined,
): Promise<{ binds: Mount[]; mounts: TaskMount[] }> {
  if (declared.length === 0) return { binds: [], mounts: [] }
  const { id, namespace, effects, signal } = job
  const asked = new Set(made.options.mounts.map(({ target }) => posix.join(target, '/')))
  const targets = [...new Set(declared.map(normalized))].filter((target) => !asked.has(posix.join(target, '/')))
  const volumes = targets.map((target) => ({ target, path: effects.paths.volume(namespace, id, nameOf(target)) }))
  const missing = volumes.filter(({ path }) => !existsSync(path))
  if (missing.length > 0) {
    await using root = await mountTemporarily(rootfs, effects.runDir, signal)
    for (const { target, path } of missing) await makeVolume(root.path, target, path, signal)
  }
  const told = new Set((made.volumes ?? []).map(({ target }) => target))
  const untold = volumes.filter(({ target }) => !told.has(target))
  if (untold.length > 0) await job.append(container.fact(id, 'container.volumes-made', { volumes: untold }))
  const bind = (destination: string, source: string): Mount => ({
    destination,
    type: 'bind',
    source,
    options: ['rbind', 'rprivate', 'rw'],
  })
  if (owners === undefined) return { binds: volumes.map(({ target, path }) => bind(target, path)), mounts: [] }
  const bundle = effects.paths.bundle(namespace, id)
  const named = volumes.map(({ target, path }) => ({ target, path, name: `volume-${nameOf(target)}` }))
  return {
    binds: named.map(({ target, name }) => bind(target, mountPoint(bundle, name))),
    mounts: named.map(({ path, name }) => ({
      name,
      mounts: [{ type: 'bind', source: path, options: ['bind'] }],
      owners,
    })),
  }
}

function normalized(path: string, index: number): string {
  const target = posix.resolve('/', path)
  const isPlain = target !== '/' && !path.includes('\0') && !path.split('/').includes('..')
  if (isPlain && index < VOLUMES_MAX) return target
  throw new PurserError(
    'failed_precondition',
    isPlain
      ? `the image declares more than ${VOLUMES_MAX} volumes`
      : `the image declares a volume at ${JSON.stringify(path.slice(0, 100))}, which is no place for one`,
    { remedy: 'use an image that does not' },
  )
}

const nameOf = (target: string): string => createHash('sha256').update(target).digest('hex').slice(0, 16)

/** It is there once it is whole. */
async function makeVolume(root: string, target: string, path: string, signal: AbortSignal): Promise<void> {
  const partial = `${path}.partial`
  await rm(partial, { recursive: true, force: true })
  mkdirSync(dirname(path), { recursive: true, mode: 0o711 })
  mkdirSync(partial, { mode: 0o755 })
  await copyTreeWithin(root, target, partial, signal)
  renameSync(partial, path)
}
