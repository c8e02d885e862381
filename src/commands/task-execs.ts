import { z } from 'zod'
import { type Refusal, refuse } from '../model/aggregate.ts'
import { execOptions } from '../oci/spec/container-options.ts'

export const execProcess = execOptions.extend({
  output: z
    .enum(['attach', 'discard'])
    .default('attach')
    .describe('attach: kept, within bounds, until a client reads it'),
  timeoutMs: z.int().positive().optional().describe('milliseconds after which it is killed, with all it has started'),
  outputBytesMax: z
    .int()
    .nonnegative()
    .optional()
    .describe('bytes of output that are handed on; what comes after them is read and dropped'),
})
export type ExecProcess = z.output<typeof execProcess>

export type ExecState =
  | { status: 'starting'; process: ExecProcess }
  | { status: 'running'; process: ExecProcess; pid: number; startedAt: string }
  | ({ status: 'exited'; process: ExecProcess } & ExecExit)

export interface ExecExit {
  exitCode: number
  exitedAt: string
  /** Why, when it was not its own exit: `timeout`. */
  reason?: string | undefined
  /** Of its output, beyond what it was allowed. */
  droppedBytes?: number | undefined
}

export type Execs = Record<string, ExecState>

/** Exits of an exec that are remembered per task; the log has them all. */
const EXITED_EXECS_MAX = 32

export function notRunning(subject: string, execId: string, exec: ExecState | undefined): Refusal | undefined {
  if (exec === undefined) {
    return refuse('not_found', `exec ${execId} is not in container ${subject}`, `purser inspect ${subject}`)
  }
  if (exec.status !== 'exited') return undefined
  return refuse('failed_precondition', `exec ${execId} in container ${subject} has ended`, `purser inspect ${subject}`)
}

/** Records an exec's exit; of those that ended only the newest stay, so that a task with many execs stays small. */
export function withExit(execs: Execs, { execId, ...exit }: { execId: string } & ExecExit): Execs {
  const exec = Object.hasOwn(execs, execId) ? execs[execId] : undefined
  if (!exec || exec.status === 'exited') return execs
  const { [execId]: _, ...others } = execs
  // Not in the order of the object's keys, which begins with those that look like numbers.
  const ended = Object.entries(others)
    .flatMap(([id, other]) => (other.status === 'exited' ? [{ id, exitedMs: Date.parse(other.exitedAt) }] : []))
    .sort((a, b) => a.exitedMs - b.exitedMs)
    .map(({ id }) => id)
  const surplus = new Set(ended.slice(0, Math.max(0, ended.length + 1 - EXITED_EXECS_MAX)))
  const kept = Object.fromEntries(Object.entries(others).filter(([id]) => !surplus.has(id)))
  return { ...kept, [execId]: { status: 'exited', process: exec.process, ...exit } }
}
