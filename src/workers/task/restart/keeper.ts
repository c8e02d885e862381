import type { Logger } from 'pino'
import { command, isActive } from '../../../commands/command.ts'
import { container } from '../../../commands/container.ts'
import { isRestartDue, isStartedWithDaemon, nextRestart, restartDelayMs } from '../../../commands/restart.ts'
import { tasks } from '../../../commands/task.ts'
import type { EventLog } from '../../../log/event-log.ts'
import type { CommandEnvelope } from '../../../model/command.ts'
import type { StoredEvent } from '../../../model/event.ts'
import { insist } from '../../../queue/insist.ts'
import type { Intake } from '../../../queue/intake.ts'

export interface RestartKeeperOptions {
  log: EventLog
  intake: Intake
  logger: Logger
}

/**
 * Starts containers again as their restart policies say, by a command for each restart. What is to be done it reads from the
 * log alone, so that a restart of the daemon changes nothing: a delay goes on from the exit, and of one exit there is one command.
 */
export class RestartKeeper {
  readonly #options: RestartKeeperOptions
  /** Commands on a container that have not ended: what becomes of it is not known before. */
  readonly #busy = new Map<string, Set<string>>()
  readonly #timers = new Map<string, NodeJS.Timeout>()
  readonly #stop = new AbortController()
  readonly #listening: Disposable

  constructor(options: RestartKeeperOptions) {
    this.#options = options
    const { documents } = options.log
    for (const { state } of documents.list(command)) if (isActive(state)) this.#begun(state.command)
    this.#listening = options.log.listen((event) => this.#applied(event))
    for (const { namespace, id, state } of documents.list(container)) {
      const isIdle = !this.#busy.has(`${namespace}/${id}`)
      if (isIdle && isStartedWithDaemon(state, documents.get(tasks, namespace, id))) this.#recover(namespace, id, 0, 0)
      else this.#review(namespace, id)
    }
  }

  [Symbol.dispose](): void {
    this.#stop.abort()
    this.#listening[Symbol.dispose]()
    for (const timer of this.#timers.values()) clearTimeout(timer)
  }

  #applied({ type, namespace, subject, aggregate, data }: StoredEvent): void {
    const id = subject.slice(aggregate.length + 1)
    if (aggregate === container.name || type === 'task.exited') this.#review(namespace, id)
    else if (type === 'command.accepted') this.#begun((data as { command: CommandEnvelope }).command)
    else if (type === 'command.succeeded' || type === 'command.failed' || type === 'command.cancelled')
      this.#ended(namespace, id)
  }

  #begun({ id, namespace, subject, aggregate }: CommandEnvelope): void {
    if (aggregate !== container.name) return
    const key = `${namespace}/${subject}`
    this.#busy.set(key, (this.#busy.get(key) ?? new Set()).add(id))
  }

  #ended(namespace: string, commandId: string): void {
    const state = this.#options.log.documents.get(command, namespace, commandId)
    if (state.status === 'absent' || state.command.aggregate !== container.name) return
    const { subject } = state.command
    const key = `${namespace}/${subject}`
    const commands = this.#busy.get(key)
    commands?.delete(commandId)
    if (commands?.size === 0) this.#busy.delete(key)
    this.#review(namespace, subject)
  }

  #review(namespace: string, id: string): void {
    const key = `${namespace}/${id}`
    const { documents } = this.#options.log
    const state = documents.get(container, namespace, id)
    const task = documents.get(tasks, namespace, id)
    if (this.#busy.has(key) || !isRestartDue(state, task)) {
      clearTimeout(this.#timers.get(key))
      this.#timers.delete(key)
      return
    }
    if (this.#timers.has(key) || this.#stop.signal.aborted) return
    const delayMs = restartDelayMs(state, task)
    const since = task.status === 'stopped' ? Date.parse(task.exitedAt) : Date.now()
    const timer = setTimeout(
      () => {
        this.#timers.delete(key)
        const now = documents.get(container, namespace, id)
        // Somebody may have asked for something else meanwhile: what is to be done is seen when that has ended.
        if (this.#busy.has(key) || !isRestartDue(now, documents.get(tasks, namespace, id))) return
        this.#recover(namespace, id, nextRestart(now), delayMs)
      },
      Math.max(0, Math.min(since + delayMs - Date.now(), delayMs)),
    )
    this.#timers.set(key, timer.unref())
  }

  #recover(namespace: string, id: string, count: number, delayMs: number): void {
    const { log, intake, logger } = this.#options
    const versions = [log.documents.version(container, namespace, id), log.documents.version(tasks, namespace, id)]
    const request = {
      type: 'container.recover',
      subject: id,
      namespace,
      payload: { count, delayMs },
      // Of the present state, whatever restarts in between.
      idempotencyKey: `restart/${id}/${versions.join('/')}`,
    }
    const submit = () => intake.submit(request, { actor: 'purser:restart' })
    insist('a restart', submit, { logger, signal: this.#stop.signal }).catch((err) => {
      if (!this.#stop.signal.aborted) logger.error({ err, namespace, id }, 'a container could not be started again')
    })
  }
}
