import type { Handler } from '../../queue/handler.ts'
import { checkImage } from './check.ts'
import { convertImage } from './convert.ts'
import type { PullEffects } from './effects.ts'
import { exportImage } from './export.ts'
import { healContent } from './heal.ts'
import { importImage } from './import.ts'
import { pullImage } from './pull.ts'
import { pushImage } from './push.ts'
import { verifyImage } from './verify.ts'

export const pullHandlers: readonly Handler<PullEffects>[] = [
  //
  checkImage,
  convertImage,
  exportImage,
  healContent,
  importImage,
  pullImage,
  pushImage,
  verifyImage,
]
