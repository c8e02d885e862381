import { mountTemporarily } from '../host/mounts.ts'
import type { DiffSource } from '../layers/diff/changes.ts'
import type { Snapshotter } from '../snapshotters/snapshotter.ts'

/**
 * What a snapshot has beside its parent: overlayfs notes it in the upper directory; elsewhere the two are compared.
 *
 * @param parents directories of its parents, topmost first
 */
export async function openDiffSource(
  snapshotter: Snapshotter,
  { dir, status }: { dir: string; status: 'active' | 'view' | 'committed' },
  parents: readonly string[],
  runDir: string,
  signal: AbortSignal,
): Promise<AsyncDisposable & { source: DiffSource }> {
  await using opened = new AsyncDisposableStack()
  const target = snapshotter.layerTarget(dir)
  const mount = async (id: string, kind: 'active' | 'view' | 'committed', below: readonly string[]) =>
    opened.use(await mountTemporarily(await snapshotter.mounts(id, kind, below, signal), runDir, signal)).path
  const [parent, ...others] = parents
  const source: DiffSource =
    snapshotter.kind === 'overlay' && target.placement === 'alone'
      ? { from: 'upper-directory', path: target.path }
      : {
          from: 'comparison',
          lower: parent === undefined ? undefined : await mount(parent, 'committed', others),
          upper: await mount(dir, status, parents),
        }
  const held = opened.move()
  return { source, [Symbol.asyncDispose]: () => held.disposeAsync() }
}
