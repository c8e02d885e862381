import type { Logger } from 'pino'
import type { EventLog } from '../../log/event-log.ts'
import type { Fact } from '../../model/aggregate.ts'
import { spontaneous } from '../../model/event.ts'
import { insist } from '../../queue/insist.ts'

export interface Recording {
  namespace: string
  /** Who has seen it: `purser:NAME` is the event's actor. */
  by: string
  /** Whether it is still to be written: looked at again before each attempt. */
  isDue: () => boolean
  traceparent?: string | undefined
  logger: Logger
  signal: AbortSignal
}

/**
 * Records what has happened on the host by itself, again until Redis takes it: it must not be forgotten. Nor be told twice:
 * an append whose answer was lost may have been written, which the log tells.
 */
export async function recordFact(
  log: EventLog,
  fact: Fact,
  { namespace, by, isDue, traceparent, logger, signal }: Recording,
): Promise<void> {
  const cause = { ...spontaneous(by), ...(traceparent === undefined ? {} : { traceparent }) }
  await insist(
    fact.type,
    async () => {
      await log.catchUp()
      while (isDue()) {
        const appended = await log.append(log.changesOf([fact], namespace), cause)
        if (appended.outcome === 'written') return
      }
    },
    { logger, signal },
  )
}
