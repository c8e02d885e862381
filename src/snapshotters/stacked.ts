import type { LayersOnDisk } from './layers-on-disk.ts'
import type { Snapshotter } from './snapshotter.ts'

/** What snapshotters with one directory for each layer do alike, whoever stacks these. */
export const stacked = (layers: LayersOnDisk) =>
  ({
    commit: async () => {},
    layerTarget: (id) => ({ path: layers.layer(id), placement: 'alone' }),
    remove: (id) => layers.remove(id),
    usage: (id, signal) => layers.usage(id, signal),
    list: () => layers.list(),
    sync: (id, signal) => layers.sync(id, signal),
  }) satisfies Partial<Snapshotter>
