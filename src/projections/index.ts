import type { Logger } from 'pino'
import type { EventLog } from '../log/event-log.ts'
import { audit } from './audit/audit.ts'
import { ProjectionRunner } from './runner.ts'
import { sli } from './sli/sli.ts'

/** The stored projections of a node, each with what keeps it up to date. */
export type Projections = Awaited<ReturnType<typeof startProjections>>

/** @param dir of their stores */
export async function startProjections(log: EventLog, dir: string, logger: Logger, stack: AsyncDisposableStack) {
  const running = {
    audit: await ProjectionRunner.start(audit, log, dir, logger),
    sli: await ProjectionRunner.start(sli, log, dir, logger),
  }
  for (const runner of Object.values(running)) stack.defer(() => runner.stop())
  return running
}
