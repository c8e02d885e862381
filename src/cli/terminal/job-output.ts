import type { JobLogsOptions, JobView, PurserClient } from '../../client/index.ts'
import { ERROR_CODES, PurserError } from '../../model/errors.ts'
import { errorLine } from '../line/failed.ts'
import { writeOut } from './output.ts'

const LINE_FEED = Buffer.of(10)
/** Of a job that is cancelled, as of a command that is. */
const CANCELLED = ERROR_CODES.cancelled.exit

/** The exit status of whoever waits for a job: that of the step that it failed with, where there is one. */
export function statusOfJob(job: JobView): number {
  if (job.status === 'succeeded') return 0
  if (job.failure === undefined) return CANCELLED
  return job.failure.exitCode || ERROR_CODES[job.failure.error.code].exit
}

/** Says on stderr why a job did not succeed. */
export function tellWhy({ id, status, failure, reason }: JobView): void {
  if (failure !== undefined) {
    const { code, message, remedy = `purser job logs ${id}` } = failure.error
    process.stderr.write(`${errorLine(new PurserError(code, `job ${id}: ${message}`, { remedy }))}\n`)
  } else if (status === 'cancelled') process.stderr.write(`purser: job ${id} was cancelled: ${reason}\n`)
}

/** Writes what steps write, each after a line on stderr that names it. */
export async function writeJobLogs(
  client: PurserClient,
  id: string,
  { timestamps, ...options }: JobLogsOptions & { timestamps: boolean },
): Promise<void> {
  let said = ''
  /** Streams that are within a line. */
  const begun = new Set<'stdout' | 'stderr'>()
  for await (const { attempt, step, stepName, time, stream, isPartial, text } of client.jobs.logs(id, options)) {
    const name = stepName === `step ${step}` ? stepName : `step ${step}: ${stepName}`
    const head = `==> ${attempt > 1 ? `attempt ${attempt}, ` : ''}${name}\n`
    if (head !== said) {
      // A step begins on a line of its own, however the one before ended.
      for (const each of begun) await writeOut(process[each], LINE_FEED)
      begun.clear()
      process.stderr.write(head)
    }
    said = head
    const stamp = timestamps && !begun.has(stream) ? [Buffer.from(`${time} `)] : []
    if (isPartial) begun.add(stream)
    else begun.delete(stream)
    await writeOut(process[stream], Buffer.concat([...stamp, text, ...(isPartial ? [] : [LINE_FEED])]))
  }
}
