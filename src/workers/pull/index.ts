import type { Handler } from '../../queue/handler.ts'
import type { PullEffects } from './effects.ts'
import { exportImage } from './export.ts'
import { importImage } from './import.ts'
import { pullImage } from './pull.ts'
import { pushImage } from './push.ts'
import { verifyImage } from './verify.ts'

export const pullHandlers: readonly Handler<PullEffects>[] = [
  //
  exportImage,
  importImage,
  pullImage,
  pushImage,
  verifyImage,
]
