import { NativeSnapshotter } from '../../../src/snapshotters/native.ts'
import { snapshotterContract } from './contract.ts'

snapshotterContract('native', NativeSnapshotter.open)
