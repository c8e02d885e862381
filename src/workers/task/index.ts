import type { Handler } from '../../queue/handler.ts'
import { checkpointTask } from './checkpoint/checkpoint.ts'
import { importCheckpoint } from './checkpoint/import.ts'
import { removeCheckpoint } from './checkpoint/remove.ts'
import { copyIntoContainer } from './copy.ts'
import { createTask } from './create.ts'
import { deleteTask } from './delete.ts'
import { deleteContainer } from './delete-container.ts'
import { destroyTask } from './destroy.ts'
import type { TaskEffects } from './effects.ts'
import { execInTask } from './exec.ts'
import { cleanJob } from './job/clean.ts'
import { collectArtifacts } from './job/collect.ts'
import { keepJobLog } from './job/keep-log.ts'
import { prepareJob } from './job/prepare.ts'
import { removeJob } from './job/remove.ts'
import { killTask } from './kill.ts'
import { createNetwork } from './network/create.ts'
import { connectContainer } from './network/join.ts'
import { disconnectContainer } from './network/leave.ts'
import { removeNetwork } from './network/remove.ts'
import { pauseTask, resumeTask } from './pause.ts'
import { admitMember } from './pool/admit.ts'
import { claimFromPool } from './pool/claim.ts'
import { renameContainer } from './rename.ts'
import { createSandbox } from './sandbox/create.ts'
import { discardSandbox } from './sandbox/discard.ts'
import { haltSandbox } from './sandbox/halt.ts'
import { startSandbox } from './sandbox/start.ts'
import { startTask } from './start.ts'
import { updateTask } from './update.ts'

export const taskHandlers: readonly Handler<TaskEffects>[] = [
  //
  admitMember,
  checkpointTask,
  claimFromPool,
  copyIntoContainer,
  cleanJob,
  collectArtifacts,
  connectContainer,
  createNetwork,
  createSandbox,
  createTask,
  deleteContainer,
  deleteTask,
  destroyTask,
  discardSandbox,
  disconnectContainer,
  execInTask,
  haltSandbox,
  importCheckpoint,
  keepJobLog,
  killTask,
  pauseTask,
  prepareJob,
  removeCheckpoint,
  removeJob,
  removeNetwork,
  renameContainer,
  resumeTask,
  startSandbox,
  startTask,
  updateTask,
]
