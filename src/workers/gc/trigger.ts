import type { Logger } from 'pino'
import { type CommandState, command } from '../../commands/command.ts'
import type { EventLog } from '../../log/event-log.ts'
import type { Intake } from '../../queue/intake.ts'

/** Collects after a pull that failed: what it brought is nobody's. */
export function collectAfterFailedPulls(log: EventLog, intake: Intake, logger: Logger): Disposable {
  return log.listen((event) => {
    if (event.type !== 'command.failed' && event.type !== 'command.cancelled') return
    const state: CommandState = log.documents.get(command, event.namespace, event.subject.slice('command/'.length))
    if (state.status === 'absent' || state.command.type !== 'image.pull') return
    const request = { type: 'gc.collect', subject: 'node', idempotencyKey: `after/${state.command.id}` }
    intake.submit(request, { actor: 'purser:gc', parent: state.command }).catch((err) => {
      logger.warn({ err }, 'collection after a failed pull could not be asked for')
    })
  })
}
