import type { Handler } from '../../queue/handler.ts'
import { commitSnapshot } from './commit.ts'
import { commitImage } from './commit-image.ts'
import { applyDiff, createDiffOf } from './diff.ts'
import type { SnapshotEffects } from './effects.ts'
import { prepareSnapshot, viewSnapshot } from './prepare.ts'
import { removeSnapshot } from './remove.ts'
import { unpackSnapshot } from './unpack.ts'

export const snapshotHandlers: readonly Handler<SnapshotEffects>[] = [
  //
  applyDiff,
  commitImage,
  commitSnapshot,
  createDiffOf,
  prepareSnapshot,
  removeSnapshot,
  unpackSnapshot,
  viewSnapshot,
]
