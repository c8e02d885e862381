import type { Handler } from '../../queue/handler.ts'
import type { PullEffects } from './effects.ts'
import { pullImage } from './pull.ts'

export const pullHandlers: readonly Handler<PullEffects>[] = [pullImage]
