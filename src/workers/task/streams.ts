import { existsSync } from 'node:fs'
import { containers } from '../../commands/container.ts'
import { execOf, tasks as taskKind } from '../../commands/task.ts'
import type { EventLog } from '../../log/event-log.ts'
import { errorCodeOf, PurserError } from '../../model/errors.ts'
import { encodeLog } from '../../shim/log-format.ts'
import { readLogBlocks } from '../../shim/log-reader.ts'
import { formatPosition, type LogPosition, parsePosition } from '../../shim/log-segments.ts'
import { joined, type OutputChunk, type SubscribeOptions } from '../../shim/output-hub.ts'
import type { ContainerLogs } from './container-logs.ts'
import { endInput, type LiveProcess, type LiveTask } from './live-task.ts'
import type { TaskPaths } from './paths.ts'
import type { Tasks } from './tasks.ts'

export interface AttachRequest {
  execId?: string
  replay: 'all' | 'none' | { from: string }
}

interface OutputPart {
  stream: 'stdout' | 'stderr'
  chunk: Uint8Array
  position?: string
}

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
  async attach(namespace: string, id: string, options: AttachRequest, signal: AbortSignal) {
    const { execId } = options
    const replay = typeof options.replay === 'string' ? options.replay : positionOf(options.replay.from)
    const live = this.#tasks.get(namespace, id)
    const process = execId === undefined ? live : live?.execs.get(execId)
    if (live && process) return attachTo(live, process, execId, replay, signal)
    const state = this.#log.documents.get(taskKind, namespace, id)
    if (execId === undefined && state.status === 'stopped')
      return ended(replay === 'none' ? none() : this.#kept(namespace, id, replay, signal))
    if (execId !== undefined && execOf(state, execId)?.status === 'exited') return ended(none())
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

  /** What is in the log of a task that has ended. */
  async *#kept(namespace: string, id: string, replay: 'all' | LogPosition, signal: AbortSignal) {
    const path = this.#paths.log(namespace, id)
    if (!existsSync(path)) return
    const blocks = readLogBlocks(path, { signal, ...(replay === 'all' ? {} : { from: replay }) })
    for await (const entries of blocks) yield* partsOf(joined(entries))
  }
}

function positionOf(text: string): LogPosition {
  const position = parsePosition(text)
  if (position) return position
  throw new PurserError('invalid_argument', `from: ${JSON.stringify(text)} is not a position in a log`, {
    remedy: 'write one that a session with positions=true has told',
  })
}

/** Whoever comes late still wants the output and the exit. */
function ended(output: AsyncIterable<OutputPart>) {
  const nothing = async (): Promise<void> => {}
  return { output, writeStdin: nothing, closeStdin: nothing, resize: nothing, [Symbol.asyncDispose]: nothing }
}

function attachTo(
  live: LiveTask,
  process: LiveProcess,
  execId: string | undefined,
  replay: SubscribeOptions['replay'],
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
    output: liveParts(process.output.subscribe({ replay, signal: within })),
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

async function* liveParts(output: AsyncIterable<OutputChunk>) {
  for await (const chunk of output) yield partOf(chunk)
}

function* partsOf(chunks: Iterable<OutputChunk>) {
  for (const chunk of chunks) yield partOf(chunk)
}

const partOf = ({ stream, data, end }: OutputChunk): OutputPart => ({
  stream,
  chunk: data,
  ...(end === undefined ? {} : { position: formatPosition(end) }),
})

async function* none(): AsyncGenerator<never> {}
