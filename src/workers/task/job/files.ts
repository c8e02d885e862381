import { existsSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { type JobArtifact, jobs } from '../../../commands/job.ts'
import type { EventLog } from '../../../log/event-log.ts'
import { errorCodeOf, PurserError } from '../../../model/errors.ts'
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
  readonly #streams: TaskStreams
  readonly #paths: TaskPaths

  constructor(log: EventLog, streams: TaskStreams, paths: TaskPaths) {
    this.#log = log
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
    if (follow) await this.#until(() => stepOf() !== undefined || isOver(), signal)
    const container = stepOf()?.container
    if (container === undefined) return
    if (!existsSync(path)) {
      // With follow, from before its container is there.
      if (follow) await this.#until(() => this.#hasTask(namespace, container) || stepOf()?.status !== 'running', signal)
      try {
        for await (const chunk of this.#streams.logs(namespace, container, { follow }, signal)) yield chunk
        return
      } catch (error) {
        if (errorCodeOf(error) !== 'not_found' || !existsSync(path)) {
          if (errorCodeOf(error) === 'not_found') return
          throw error
        }
      }
    }
    yield* chunksOf(await open(path, 'r'), signal)
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

  #hasTask(namespace: string, container: string): boolean {
    return existsSync(this.#paths.log(namespace, container))
  }

  async #until(holds: () => boolean, signal: AbortSignal): Promise<void> {
    if (holds()) return
    signal.throwIfAborted()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    using _ = this.#log.listen(() => {
      if (holds()) resolve()
    })
    try {
      await promise
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }
}

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
