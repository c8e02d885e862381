import { posix } from 'node:path'
import type { ContainerState } from '../../commands/container.ts'
import type { IdMap } from '../../host/mounts.ts'
import type { Mount } from '../../oci/spec/schema.ts'
import type { Job } from '../../queue/handler.ts'
import type { TaskEffects } from './effects.ts'
import { mountPoint } from './live-task.ts'
import { snapshotMounts } from './rootfs.ts'
import type { TaskMount } from './task-mounts.ts'

type PresentContainer = Exclude<ContainerState, { status: 'absent' }>

/** What is mounted of other images: read-only, and with none of their devices and setuid programs. */
export async function mountedImages(
  { id, namespace, view, effects, signal }: Job<unknown, unknown, TaskEffects>,
  made: PresentContainer,
  owners: IdMap | undefined,
): Promise<{ binds: Mount[]; mounts: TaskMount[] }> {
  const bundle = effects.paths.bundle(namespace, id)
  const binds: Mount[] = []
  const mounts: TaskMount[] = []
  for (const [index, { snapshotKey }] of (made.imageMounts ?? []).entries()) {
    const name = `image-${index}`
    const of = { snapshotter: made.snapshotter, snapshotKey }
    mounts.push({ name, mounts: await snapshotMounts(view, effects.snapshotters, namespace, of, signal), owners })
    binds.push({
      destination: posix.resolve(made.options.imageMounts?.[index]?.target ?? '/'),
      type: 'bind',
      source: mountPoint(bundle, name),
      options: ['rbind', 'rprivate', 'nosuid', 'nodev', 'ro'],
    })
  }
  return { binds, mounts }
}
