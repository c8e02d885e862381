import type { z } from 'zod'
import { checkpointOf, type checkpointRequest } from '../../../commands/checkpoints.ts'
import type { PresentContainer } from '../../../commands/container.ts'
import { POOL_LABEL } from '../../../commands/pool-member.ts'
import { PurserError } from '../../../model/errors.ts'
import { networkMode } from '../../../oci/spec/network-mode.ts'
import { usernsMode } from '../../../oci/spec/user-namespace-options.ts'

/** Refuses what cannot be checkpointed, or not as it is asked for. @throws PurserError with what is in the way */
export function requireCheckpointable(
  id: string,
  made: PresentContainer,
  { name, processes, files, tcp }: z.output<typeof checkpointRequest>,
): void {
  const refuse = (
    why: string,
    remedy: string,
    code: 'failed_precondition' | 'invalid_argument' = 'failed_precondition',
  ) => {
    throw new PurserError(code, why, { remedy })
  }
  const { options, labels, onExit } = made
  if (checkpointOf(made, name) !== undefined) {
    throw new PurserError('already_exists', `container ${id} has a checkpoint ${name}`, {
      remedy: `choose another name, or purser checkpoint rm ${id} ${name}`,
    })
  }
  if (made.sandbox !== undefined) {
    refuse(
      `container ${id} shares namespaces with its sandbox, which a checkpoint does not have`,
      'run it without --sandbox',
    )
  }
  if (options.tty) refuse(`container ${id} has a terminal, which cannot be in a checkpoint`, 'run it without -t')
  if (usernsMode(options.userns)?.kind !== 'host') {
    refuse(`container ${id} has a user namespace, whose ids another task would not have`, 'run it without --userns')
  }
  if (tcp === 'keep' && networkMode(options.network)?.kind === 'none') {
    refuse(`container ${id} is in no network: it is restored before its loopback is up`, 'leave --tcp-established out')
  }
  if (labels[POOL_LABEL] !== undefined) {
    refuse(
      `container ${id} is of pool ${labels[POOL_LABEL]}, which has its own ways`,
      'checkpoint a container of your own',
    )
  }
  if (processes === 'end' && onExit === 'remove') {
    refuse(`container ${id} is removed when it stops, and its checkpoints with it`, 'use --leave-running')
  }
  if (processes === 'go-on' && files === 'keep') {
    const why = `files of container ${id} would not be those of the moment: they are kept only of one that stops`
    refuse(
      why,
      `leave --leave-running out, and have it go on by purser start --checkpoint ${name} ${id}`,
      'invalid_argument',
    )
  }
}
