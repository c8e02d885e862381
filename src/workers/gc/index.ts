import type { Handler } from '../../queue/handler.ts'
import { collectGarbage } from './collect.ts'
import { deleteContent } from './delete-content.ts'
import { deleteImage } from './delete-image.ts'
import type { GcEffects } from './effects.ts'

export const gcHandlers: readonly Handler<GcEffects>[] = [
  //
  collectGarbage,
  deleteContent,
  deleteImage,
]
