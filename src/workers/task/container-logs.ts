import { hostname } from 'node:os'
import type { Logger } from 'pino'
import type { ContainerState } from '../../commands/container.ts'
import type { Logging } from '../../commands/logging.ts'
import { task } from '../../commands/task.ts'
import type { EventLog } from '../../log/event-log.ts'
import { spontaneous } from '../../model/event.ts'
import { FluentdSink } from '../../shim/forward/fluentd.ts'
import { Forwarder } from '../../shim/forward/forwarder.ts'
import { JournaldSink } from '../../shim/forward/journald.ts'
import type { LogSink, LogSource } from '../../shim/forward/sink.ts'
import { SyslogSink, type SyslogTarget } from '../../shim/forward/syslog.ts'
import type { LogKeeper } from '../../shim/keeper/log-keeper.ts'
import { LogFile, type LogLimits } from '../../shim/log-file.ts'
import { passingAt } from '../../shim/output-rate.ts'
import type { TaskPaths } from './paths.ts'

/** A log as a task's output is written to it. */
export interface OpenLog {
  log: LogFile
  /** What of a chunk is kept. */
  passing(chunk: Buffer): Buffer
  /** Sends the log on, where its driver says so. */
  forwarder: Forwarder | undefined
}

export interface ContainerLogsOptions {
  log: EventLog
  paths: TaskPaths
  /** Where a container does not say it. */
  defaults: Logging
  /** What goes on with logs while no daemon runs; they wait without it. */
  keeper?: LogKeeper | undefined
  logger: Logger
}

type Dropped = { reason: 'rate'; bytes: number } | { reason: 'driver'; files: number }

const MAX_BYTES = 64 * 1024 * 1024
const FILES = 5
/** Of a container whose output is not kept: what attached clients may be behind. */
const UNKEPT: LogLimits = { maxBytes: 1024 * 1024, filesMax: 1 }
/** Between two events of one container that tell what was dropped. */
const TOLD_EVERY_MS = 10_000
const DAEMON_FACILITY = 3

/** Logs of containers, by what each asks for and the configuration. */
export class ContainerLogs {
  readonly #options: ContainerLogsOptions

  constructor(options: ContainerLogsOptions) {
    this.#options = options
    const { log, keeper } = options
    if (!keeper) return
    log.listen(({ type, namespace, subject }) => {
      if (type === 'task.released') keeper.remove(`${namespace}/${subject.slice('task/'.length)}`)
    })
  }

  /** Whether what it writes is kept. */
  isKept(made: ContainerState): boolean {
    return made.status !== 'absent' && this.#effective(made).driver !== 'none'
  }

  async open(namespace: string, id: string, made: ContainerState): Promise<OpenLog> {
    const { paths, logger } = this.#options
    const wanted = this.#effective(made)
    const limits =
      wanted.driver === 'none' ? UNKEPT : { maxBytes: wanted.maxBytes ?? MAX_BYTES, filesMax: wanted.files ?? FILES }
    const log = await LogFile.open(paths.log(namespace, id), logger, limits)
    const drops = new Drops((dropped, sinceMs) => this.#tell(namespace, id, dropped, sinceMs))
    const sink = sinkOf(wanted, { namespace, container: id, tag: wanted.tag ?? id, hostname: hostname() })
    this.#keep(namespace, id, made, limits, wanted.bytesPerSecond)
    const cursorPath = `${paths.log(namespace, id)}.cursor`
    const onLost = () => drops.add({ reason: 'driver', files: 1 })
    return {
      log,
      passing: passingAt(wanted.bytesPerSecond, (bytes) => drops.add({ reason: 'rate', bytes })),
      forwarder: sink && new Forwarder({ log, sink, cursorPath, onLost, logger }),
    }
  }

  /** Says to the keeper what it is to go on with, without us. */
  #keep(
    namespace: string,
    id: string,
    made: ContainerState,
    limits: LogLimits,
    bytesPerSecond: number | undefined,
  ): void {
    const { keeper, paths } = this.#options
    keeper?.add({
      key: `${namespace}/${id}`,
      stdioDir: paths.stdio(namespace, id),
      output: made.status !== 'absent' && made.options.tty ? 'terminal' : 'pipes',
      logPath: paths.log(namespace, id),
      ...limits,
      ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
    })
  }

  #effective(made: ContainerState): Logging {
    const asked = made.status === 'absent' ? undefined : made.logging
    const { defaults } = this.#options
    // Where the driver is another one, the address is not meant for it.
    const { sendTo: _, ...others } = defaults
    return asked?.driver === undefined || asked.driver === defaults.driver
      ? { ...defaults, ...asked }
      : { ...others, ...asked }
  }

  #tell(namespace: string, id: string, dropped: Dropped, sinceMs: number): void {
    const { log, logger } = this.#options
    log
      .record([task.fact(id, 'task.output-dropped', { ...dropped, sinceMs })], namespace, spontaneous('logs'))
      .catch((err) => {
        logger.warn({ err, namespace, id, ...dropped }, 'output was dropped, which could not be recorded')
      })
  }
}

/** Counts what is dropped, and tells it at once, then once in a while. */
class Drops {
  readonly #tell: (dropped: Dropped, sinceMs: number) => void
  readonly #waiting = new Map<Dropped['reason'], Dropped>()
  #toldAt = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | undefined

  constructor(tell: (dropped: Dropped, sinceMs: number) => void) {
    this.#tell = tell
  }

  add(dropped: Dropped): void {
    this.#waiting.set(dropped.reason, sumOf(this.#waiting.get(dropped.reason), dropped))
    const waitMs = Math.max(0, this.#toldAt + TOLD_EVERY_MS - performance.now())
    this.#timer ??= setTimeout(() => this.#flush(), waitMs).unref()
  }

  #flush(): void {
    this.#timer = undefined
    const now = performance.now()
    const sinceMs = Number.isFinite(this.#toldAt) ? Math.round(now - this.#toldAt) : 0
    this.#toldAt = now
    for (const dropped of this.#waiting.values()) this.#tell(dropped, sinceMs)
    this.#waiting.clear()
  }
}

function sumOf(one: Dropped | undefined, other: Dropped): Dropped {
  if (one?.reason === 'rate' && other.reason === 'rate') return { reason: 'rate', bytes: one.bytes + other.bytes }
  if (one?.reason === 'driver' && other.reason === 'driver') return { reason: 'driver', files: one.files + other.files }
  return other
}

function sinkOf({ driver, sendTo, facility = DAEMON_FACILITY }: Logging, source: LogSource): LogSink | undefined {
  switch (driver) {
    case 'journald':
      return new JournaldSink(pathOf(sendTo ?? 'unixgram:///run/systemd/journal/socket'), source)
    case 'syslog':
      return new SyslogSink({ target: targetOf(sendTo ?? 'unixgram:///dev/log'), facility }, source)
    case 'fluentd': {
      return new FluentdSink(targetOf(sendTo ?? 'tcp://127.0.0.1:24224'), source)
    }
  }
  return undefined
}

const pathOf = (address: string): string => address.slice(address.indexOf('://') + '://'.length)

function targetOf(address: string): SyslogTarget {
  const by = address.slice(0, address.indexOf('://'))
  if (by === 'unix' || by === 'unixgram') return { by, path: pathOf(address) }
  const { hostname: host, port } = new URL(address.replace(/^(?:udp|tcp):/, 'http:'))
  return { by: by === 'udp' ? 'udp' : 'tcp', host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port || 80) }
}
