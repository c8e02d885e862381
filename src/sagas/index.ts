import type { Handler } from '../queue/handler.ts'
import { provisionContainer } from './container-provision.ts'
import { recoverContainer } from './container-recover.ts'
import { removeContainer } from './container-remove.ts'
import { restartContainer } from './container-restart.ts'
import { restoreContainer } from './container-restore.ts'
import { runContainer } from './container-run.ts'
import { startContainer } from './container-start.ts'
import { stopContainer } from './container-stop.ts'
import { updateContainer } from './container-update.ts'
import type { SagaEffects } from './define.ts'
import { runJob } from './job-run.ts'
import { deletePool } from './pool-delete.ts'
import { retireMember } from './pool-member-retire.ts'
import { warmMember } from './pool-member-warm.ts'
import { releaseToPool } from './pool-release.ts'
import { projectDown } from './project-down.ts'
import { projectUp } from './project-up.ts'
import { deleteSandbox } from './sandbox-delete.ts'
import { stopSandbox } from './sandbox-stop.ts'

export const sagas: readonly Handler<SagaEffects>[] = [
  //
  deletePool,
  deleteSandbox,
  projectDown,
  projectUp,
  provisionContainer,
  recoverContainer,
  releaseToPool,
  removeContainer,
  restartContainer,
  restoreContainer,
  retireMember,
  runContainer,
  runJob,
  startContainer,
  stopContainer,
  stopSandbox,
  updateContainer,
  warmMember,
]
