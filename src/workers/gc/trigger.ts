import type { Logger } from 'pino'
import { type CommandState, command } from '../../commands/command.ts'
import type { EventLog } from '../../log/event-log.ts'
import { insist } from '../../queue/insist.ts'
import type { Intake } from '../../queue/intake.ts'

/** Collects after a pull that failed: what it brought is nobody's. */
export function collectAfterFailedPulls(log: EventLog, intake: Intake, logger: Logger): Disposable {
  const stop = new AbortController()
  const listening = log.listen((event) => {
    if (event.type !== 'command.failed' && event.type !== 'command.cancelled') return
    const state: CommandState = log.documents.get(command, event.namespace, event.subject.slice('command/'.length))
    if (state.status === 'absent' || state.command.type !== 'image.pull') return
    const parent = state.command
    const request = { type: 'gc.collect', subject: 'node', idempotencyKey: `after/${state.command.id}` }
    // A pull that has filled the disk may have left Redis no room for that either, for a moment.
    const ask = () => intake.submit(request, { actor: 'purser:gc', parent })
    insist('collection after a failed pull', ask, { logger, signal: stop.signal }).catch((err) => {
      if (!stop.signal.aborted) logger.warn({ err }, 'collection after a failed pull could not be asked for')
    })
  })
  return {
    [Symbol.dispose]: () => {
      listening[Symbol.dispose]()
      stop.abort()
    },
  }
}
