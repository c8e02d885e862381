import { existsSync } from 'node:fs'
import { containers } from '../../commands/container.ts'
import { tasks as taskKind } from '../../commands/task.ts'
import type { EventLog } from '../../log/event-log.ts'
import { errorCodeOf, PurserError } from '../../model/errors.ts'
import { encodeLog } from '../../shim/log-format.ts'
import { readLogBlocks } from '../../shim/log-reader.ts'
import type { OutputChunk } from '../../shim/output-hub.ts'
import type { ContainerLogs } from './container-logs.ts'
import { endInput, type LiveProcess, type LiveTask } from './live-task.ts'
import type { TaskPaths } from './paths.ts'
import type { Tasks } from './tasks.ts'

export interface LogRequest {
  follow: boolean
  tailLines?: number
  since?: Date
  until?: Date
}

/** Containers' bytes for whoever attaches or reads logs. */
export class TaskStreams {
  readonly #log: EventLog
  readonly #tasks: Tasks
  readonly #paths: TaskPaths
  readonly #logs: ContainerLogs

  constructor(log: EventLog, tasks: Tasks, paths: TaskPaths, logs: ContainerLogs) {
    this.#logs = logs
    this.#log = log
    this.#tasks = tasks
    this.#paths = paths
  }

  /** @throws PurserError not_found when there is no such process */
  async attach(namespace: string, id: string, options: { execId?: string; replay: boolean }, signal: AbortSignal) {
    const { execId, replay } = options
    const live = this.#tasks.get(namespace, id)
    const process = execId === undefined ? live : live?.execs.get(execId)
    if (live && process) return attachTo(live, process, execId, replay, signal)
    const state = this.#log.documents.get(taskKind, namespace, id)
    if (execId === undefined && state.status === 'stopped') return this.#ended(namespace, id, replay, signal)
    const what = execId === undefined ? `container ${id} has no task` : `container ${id} has no running exec ${execId}`
    throw new PurserError('not_found', what, { remedy: `purser start ${id}` })
  }

  /** A container's log in CRI format; with follow until its task has ended. */
  async *logs(namespace: string, id: string, request: LogRequest, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const path = this.#paths.log(namespace, id)
    const made = this.#log.documents.get(containers, namespace, id)
    if (made.status === 'absent') {
      throw new PurserError('not_found', `container ${id} is not in namespace ${namespace}`, { remedy: 'purser ps -a' })
    }
    if (!this.#logs.isKept(made)) {
      throw new PurserError('failed_precondition', `of container ${id} no log is kept: its log driver is none`, {
        remedy: 'purser attach shows what it writes from then on',
      })
    }
    if (!existsSync(path)) return
    const tail = request.follow ? this.#tasks.get(namespace, id)?.log : undefined
    const blocks = readLogBlocks(path, {
      signal,
      ...(tail === undefined ? {} : { follow: tail }),
      ...(request.tailLines === undefined ? {} : { tailLines: request.tailLines }),
      ...(request.since === undefined ? {} : { sinceMs: request.since.getTime() }),
      ...(request.until === undefined ? {} : { untilMs: request.until.getTime() }),
    })
    for await (const entries of blocks) {
      yield Buffer.concat(entries.map((entry) => encodeLog(entry.stream, entry.data, Date.parse(entry.time))))
    }
  }

  #ended(namespace: string, id: string, replay: boolean, signal: AbortSignal) {
    const path = this.#paths.log(namespace, id)
    const nothing = async (): Promise<void> => {} // Whoever comes late still wants the output and the exit.
    return {
      output: replay && existsSync(path) ? entriesOf(path, signal) : none(),
      writeStdin: nothing,
      closeStdin: nothing,
      resize: nothing,
      [Symbol.asyncDispose]: async () => {},
    }
  }
}

function attachTo(
  live: LiveTask,
  process: LiveProcess,
  execId: string | undefined,
  replay: boolean,
  signal: AbortSignal,
) {
  const left = new AbortController()
  const within = AbortSignal.any([signal, left.signal])
  /** One that ends meanwhile takes no more; its output and its exit are still of interest. */
  const whileItRuns = async (act: () => Promise<unknown>): Promise<void> => {
    try {
      await act()
    } catch (error) {
      const code = errorCodeOf(error)
      if (code !== 'failed_precondition' && code !== 'not_found') throw error
    }
  }
  const requireInput = () => {
    if (process.stdio.io.stdin !== '') return
    throw new PurserError('failed_precondition', `container ${live.id} takes no input`, {
      remedy: 'create it with its standard input open: -i',
    })
  }
  return {
    output: chunksOf(process.output.subscribe({ replay: replay ? 'all' : 'none', signal: within })),
    writeStdin: async (chunk: Uint8Array) => {
      requireInput()
      await whileItRuns(() => writeTo(process, chunk, within))
    },
    closeStdin: async () => {
      requireInput()
      await whileItRuns(() => endInput(live, process, execId, within))
    },
    resize: (width: number, height: number) =>
      whileItRuns(() => live.shim.resizePty({ width, height, ...(execId === undefined ? {} : { execId }) }, within)),
    [Symbol.asyncDispose]: async () => left.abort(new PurserError('cancelled', 'detached')),
  }
}

/** Resolves when the process takes more, or never will. */
async function writeTo(process: LiveProcess, chunk: Uint8Array, within: AbortSignal): Promise<void> {
  const stdin = process.stdio.openStdin()
  if (stdin.write(chunk)) return
  await new Promise<void>((resolve) => {
    const done = () => {
      stdin.off('drain', done)
      stdin.off('close', done)
      within.removeEventListener('abort', done)
      resolve()
    }
    stdin.on('drain', done)
    stdin.on('close', done)
    within.addEventListener('abort', done, { once: true })
  })
}

async function* chunksOf(output: AsyncIterable<OutputChunk>) {
  for await (const { stream, data } of output) yield { stream, chunk: data }
}

async function* entriesOf(path: string, signal: AbortSignal) {
  for await (const entries of readLogBlocks(path, { signal })) {
    for (const { stream, data } of entries) yield { stream, chunk: data }
  }
}

async function* none(): AsyncGenerator<never> {}
