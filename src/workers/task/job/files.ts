import { existsSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { isBegun, type JobArtifact, jobs } from '../../../commands/job.ts'
import { tasks } from '../../../commands/task.ts'
import type { EventLog } from '../../../log/event-log.ts'
import { errorCodeOf, PurserError } from '../../../model/errors.ts'
import type { Changes } from '../../../queue/changes.ts'
import type { TaskPaths } from '../paths.ts'
import type { TaskStreams } from '../streams.ts'

/** Where an attempt has what. */
export const attemptFiles = (paths: TaskPaths, namespace: string, id: string, attempt: number) => {
  const dir = paths.attempt(namespace, id, attempt)
  return {
    dir,
    workspace: join(dir, 'workspace'),
    artifacts: join(dir, 'artifacts'),
    log: (step: number) => join(dir, `step-${step + 1}.log`),
  }
}

/** What jobs leave behind for whoever asks: logs and artifacts. */
export class JobFiles {
  readonly #log: EventLog
  readonly #changes: Changes
  readonly #streams: TaskStreams
  readonly #paths: TaskPaths

  constructor(log: EventLog, changes: Changes, streams: TaskStreams, paths: TaskPaths) {
    this.#log = log
    this.#changes = changes
    this.#streams = streams
    this.#paths = paths
  }

  /**
   * The log of a step in CRI format: its container's while there is one, kept afterwards; with follow until the step has
   * ended, from before it has begun. Ends at once for a step that was never begun.
   */
  async *logs(
    namespace: string,
    id: string,
    { attempt, step, follow }: { attempt: number; step: number; follow: boolean },
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    const path = attemptFiles(this.#paths, namespace, id, attempt).log(step)
    const stepOf = () => {
      const state = this.#log.documents.get(jobs, namespace, id)
      return state.status === 'absent' ? undefined : state.attempts[attempt - 1]?.steps[step]
    }
    const isOver = () => {
      const state = this.#log.documents.get(jobs, namespace, id)
      if (state.status !== 'running' && state.status !== 'queued') return true
      return state.attempts.length > attempt || state.attempts[attempt - 1]?.endedAt !== undefined
    }
    const instance = { aggregate: jobs.name, namespace, id }
    if (follow) await this.#changes.until(instance, () => stepOf() !== undefined || isOver(), signal)
    const begun = stepOf()
    if (!isBegun(begun)) return
    const { container } = begun
    if (!existsSync(path)) {
      if (follow) await this.#untilBegun(namespace, container, () => stepOf()?.status !== 'running', signal)
      try {
        for await (const chunk of this.#streams.logs(namespace, container, { follow }, signal)) yield chunk
        if (follow) await this.#untilEnded(namespace, container, signal)
        return
      } catch (error) {
        if (errorCodeOf(error) !== 'not_found') throw error
      }
    }
    // Its container has gone meanwhile, or never was.
    if (existsSync(path)) yield* chunksOf(await open(path, 'r'), signal)
  }

  /** @throws PurserError not_found */
  async artifact(namespace: string, id: string, path: string, signal: AbortSignal) {
    const state = this.#log.documents.get(jobs, namespace, id)
    const attempts = state.status === 'absent' ? [] : state.attempts
    const attempt = attempts.findLastIndex(({ collected }) => collected !== undefined)
    const found = attempts[attempt]?.collected?.artifacts.find((each: JobArtifact) => each.path === path)
    if (found === undefined) {
      throw new PurserError('not_found', `job ${id} has no artifact ${JSON.stringify(path.slice(0, 200))}`, {
        remedy: `purser job show ${id} lists them`,
      })
    }
    const { artifacts } = attemptFiles(this.#paths, namespace, id, attempt + 1)
    const file = await open(join(artifacts, path), 'r')
    return { ...found, bytes: chunksOf(file, signal) }
  }

  /**
   * What was followed to its end is of a process that ends just now.
   *
   * @throws PurserError unavailable when it goes on, and its log is not connected, as just after a start of the daemon
   */
  async #untilEnded(namespace: string, id: string, signal: AbortSignal): Promise<void> {
    const patience = AbortSignal.timeout(ENDS_MS)
    const hasEnded = () => {
      const { status } = this.#log.documents.get(tasks, namespace, id)
      return status === 'stopped' || status === 'absent'
    }
    const instance = { aggregate: tasks.name, namespace, id }
    await this.#changes.until(instance, hasEnded, AbortSignal.any([signal, patience])).catch((cause: unknown) => {
      signal.throwIfAborted()
      throw new PurserError('unavailable', `the log of container ${id} is not connected`, {
        cause,
        remedy: 'try again shortly',
      })
    })
  }

  /** Until the container of a step has a process, whose log is then followed; or the step has ended without one. */
  async #untilBegun(namespace: string, id: string, isOver: () => boolean, signal: AbortSignal): Promise<void> {
    const either = new AbortController()
    const within = AbortSignal.any([signal, either.signal])
    const hasBegun = () => {
      const { status } = this.#log.documents.get(tasks, namespace, id)
      return (status !== 'absent' && status !== 'creating') || isOver()
    }
    const job = { aggregate: jobs.name, namespace, id: id.replace(/-\d+-\d+$/, '') }
    const waits = [job, { aggregate: tasks.name, namespace, id }].map((each) =>
      this.#changes.until(each, hasBegun, within),
    )
    try {
      await Promise.race(waits)
    } finally {
      either.abort()
      await Promise.allSettled(waits)
    }
  }
}

/** Between the end of a log and the record of the exit. */
const ENDS_MS = 3000
const CHUNK_BYTES = 256 * 1024

/** A file's bytes; it is closed at their end. */
export async function* chunksOf(file: FileHandle, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  await using _ = file
  for (;;) {
    signal.throwIfAborted()
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(CHUNK_BYTES), 0, CHUNK_BYTES)
    if (bytesRead === 0) return
    yield buffer.subarray(0, bytesRead)
  }
}
