import { FuseOverlayfsSnapshotter } from '../../../src/snapshotters/fuse-overlayfs.ts'
import { snapshotterContract } from './contract.ts'
import { onDiskContract } from './on-disk.ts'

snapshotterContract('fuse-overlayfs', FuseOverlayfsSnapshotter.open)
onDiskContract('fuse-overlayfs', FuseOverlayfsSnapshotter.open)
