import type { Handler } from '../queue/handler.ts'
import { provisionContainer } from './container-provision.ts'
import { removeContainer } from './container-remove.ts'
import { runContainer } from './container-run.ts'
import { startContainer } from './container-start.ts'
import { stopContainer } from './container-stop.ts'

export const sagas: readonly Handler<unknown>[] = [
  //
  provisionContainer,
  removeContainer,
  runContainer,
  startContainer,
  stopContainer,
]
