import { closeSync, openSync } from 'node:fs'
import { execa } from 'execa'
import type { Mount } from '../host/mounts.ts'
import { PurserError } from '../model/errors.ts'
import { LayersOnDisk, stackOptions } from './layers-on-disk.ts'
import type { SnapshotKind, Snapshotter } from './snapshotter.ts'
import { stacked } from './stacked.ts'

const PROGRAM = 'fuse-overlayfs'

/**
 * One directory a layer, laid out as for overlayfs and stacked by a process: for kernels and users that may not mount
 * overlayfs. Its program has to be installed.
 *
 * @see github.com/containers/fuse-overlayfs; containerd/fuse-overlayfs-snapshotter
 */
export async function openFuseOverlayfs(root: string): Promise<Snapshotter> {
  const layers = await LayersOnDisk.open(root)
  return {
    ...stacked(layers),
    name: PROGRAM,
    kind: 'fuse',
    unavailable,
    async create(
      id: string,
      _kind: 'active' | 'view',
      [parent]: readonly string[],
      signal: AbortSignal,
    ): Promise<void> {
      const reason = await unavailable(signal)
      if (reason !== undefined) {
        throw new PurserError('failed_precondition', `the snapshotter ${PROGRAM} cannot be used: ${reason}`, {
          remedy: `install the package ${PROGRAM}, or use overlayfs`,
        })
      }
      await layers.create(id, parent)
    },

    async mounts(id: string, kind: SnapshotKind, parents: readonly string[]): Promise<Mount[]> {
      const stack = layers.stack(id, kind, parents)
      if ('type' in stack) return [stack]
      const access = stack.upper ? [] : ['ro']
      return [{ type: `fuse3.${PROGRAM}`, source: 'overlay', options: [...access, ...stackOptions(stack)] }]
    },
  }
}

/** Why it cannot be used here. */
async function unavailable(signal: AbortSignal): Promise<string | undefined> {
  try {
    closeSync(openSync('/dev/fuse', 'r+'))
  } catch (error) {
    return `/dev/fuse cannot be opened: ${error instanceof Error ? error.message : String(error)}`
  }
  const { failed, stderr } = await execa(PROGRAM, ['--version'], { cancelSignal: signal, reject: false })
  signal.throwIfAborted()
  return failed ? `${PROGRAM} cannot be run${stderr ? `: ${stderr.slice(-200)}` : ''}` : undefined
}
