import { NativeSnapshotter } from '../../../src/snapshotters/native.ts'
import { snapshotterContract } from './contract.ts'
import { onDiskContract } from './on-disk.ts'

snapshotterContract('native', NativeSnapshotter.open)
onDiskContract('native', NativeSnapshotter.open)
