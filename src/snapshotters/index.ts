import { join } from 'node:path'
import { PurserError } from '../model/errors.ts'
import { openFuseOverlayfs } from './fuse-overlayfs.ts'
import { NativeSnapshotter } from './native.ts'
import { openOverlayfs } from './overlayfs.ts'
import { type ProxyOptions, ProxySnapshotter } from './proxy.ts'
import type { Snapshotter } from './snapshotter.ts'

const own: Record<string, (root: string) => Promise<Snapshotter>> = {
  'fuse-overlayfs': openFuseOverlayfs,
  native: NativeSnapshotter.open,
  overlayfs: openOverlayfs,
}

/**
 * Every snapshotter by its name: Purser's own, each in a directory of its own, and those of other processes.
 *
 * @throws PurserError invalid_argument when a proxy has the name of one of its own
 */
export async function openSnapshotters(
  root: string,
  proxies: Readonly<Record<string, ProxyOptions>>,
): Promise<ReadonlyMap<string, Snapshotter>> {
  const opened = new Map<string, Snapshotter>()
  for (const [name, open] of Object.entries(own)) opened.set(name, await open(join(root, name)))
  for (const [name, options] of Object.entries(proxies)) {
    if (opened.has(name)) {
      throw new PurserError('invalid_argument', `snapshotter.${name}: Purser has one of its own by this name`, {
        field: `snapshotter.${name}`,
        remedy: 'choose another name; its key snapshotter says what the other process calls it',
      })
    }
    opened.set(name, new ProxySnapshotter(name, options))
  }
  return opened
}
