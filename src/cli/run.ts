import { setTimeout as delay } from 'node:timers/promises'
import type { CommandView, PurserClient } from '../client/index.ts'
import { errorCodeOf } from '../model/errors.ts'
import { defineVerb } from './line/verb.ts'
import { containerOptions, containerPayload, DETACH_KEYS, detachOption, submitOptions } from './options/container.ts'
import { showProgress } from './terminal/progress.ts'
import { type ForwardedSignal, forwarding, type SignalHandler, Signals, statusOf } from './terminal/signals.ts'
import { stayAttached } from './terminal/stay-attached.ts'

const SOON_MS = 200

export const verb = defineVerb({
  args: [
    { name: 'image', count: '1', completes: 'image' },
    { name: 'args', count: '0-' },
  ],
  options: {
    detach: { short: 'd', help: 'print the id and leave it running' },
    quiet: { short: 'q', help: 'no bars while an image is pulled' },
    ...containerOptions,
    ...detachOption,
  },
  passThrough: 'first-argument',
  failsLike: 'docker',
  async run({ client, flags, args: [image = '', ...args] }) {
    const payload = await containerPayload(client, image, args, flags)
    const accepted = await client.submit('container.run', { ...submitOptions(flags), payload })
    const { detach, interactive, tty, quiet } = flags
    await using running = new Running(client, accepted)
    // What the container prints is its own: progress goes to stderr, and only to a terminal.
    if (process.stderr.isTTY && !quiet) running.showProgress()
    if (!detach) running.attach(interactive, tty, flags['detach-keys'] ?? DETACH_KEYS)
    const cancelled = await running.started()
    if (cancelled !== 0) return cancelled
    if (!detach) return await running.ended()
    process.stdout.write(`${accepted.subject}\n`)
    return 0
  },
})

/** A container from the command that starts it to its end. */
class Running implements AsyncDisposable {
  readonly #client: PurserClient
  readonly #command: CommandView
  readonly #signals: Signals
  readonly #left = new AbortController()
  readonly #settled = new AbortController()
  #attached: Promise<number | 'detached'> | undefined
  /** That cancelled the command. */
  #cancelled: ForwardedSignal | undefined
  /** For the process, when there is one. */
  readonly #kept: ForwardedSignal[] = []
  #isForwarding = false
  #statusLeft = 0

  constructor(client: PurserClient, command: CommandView) {
    this.#client = client
    this.#command = command
    this.#signals = new Signals((signal) => {
      if (signal === 'SIGUSR1' || signal === 'SIGUSR2') return void this.#kept.push(signal)
      // A second one does not wait for the daemon.
      if (this.#cancelled !== undefined) return this.#left.abort()
      this.#cancelled = signal
      client.cancel(command.id).catch(() => {}) // It has ended meanwhile: the signal is for what it started.
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#settled.abort()
    this.#left.abort()
    await this.#attached?.catch(() => {}) // Told by `ended`.
    this.#signals[Symbol.dispose]()
  }

  showProgress(): void {
    const { signal } = this.#settled
    showProgress(this.#client, this.#command.id, signal, process.stderr).catch(() => {}) // Bars are no one's concern.
  }

  /** Begins before the container is there, so that of a short one nothing is missed. */
  attach(interactive: boolean, tty: boolean, detachKeys: readonly number[]): void {
    const { id, subject } = this.#command
    const query = { wait: 'true', removal: 'true', replay: 'true', command: id }
    this.#attached = stayAttached(this.#client, {
      path: `/v1/containers/${encodeURIComponent(subject)}/attach`,
      query: interactive ? { ...query, stdin: 'true' } : query,
      output: 'kept',
      interactive,
      tty,
      detachKeys,
      signal: this.#left.signal,
      onOutput: () => {
        this.#settled.abort()
        this.#forward()
      },
    })
    this.#attached.catch(() => {}) // Looked at when the command has succeeded.
  }

  /** @returns 0 when it has been started, or the status of the signal that it was cancelled by */
  async started(): Promise<number> {
    try {
      if (!(await this.#isSoonOver())) await this.#client.ended(this.#command.id, this.#left.signal)
    } catch (error) {
      if (this.#cancelled === undefined) throw error
      return statusOf(this.#cancelled)
    } finally {
      this.#settled.abort()
    }
    this.#forward()
    return 0
  }

  /** Whoever is attached to a short container is told of its end before the command has to be asked about. */
  async #isSoonOver(): Promise<boolean> {
    if (this.#attached === undefined) return false
    const isOver = this.#attached.then(
      () => true,
      () => false,
    )
    return await Promise.race([isOver, delay(SOON_MS, false, { ref: false })])
  }

  /** @returns the exit status: the process's, 0 when detached, or that of Ctrl-C for whoever left with it */
  async ended(): Promise<number> {
    try {
      const exitCode = await this.#attached
      return typeof exitCode === 'number' ? exitCode : 0
    } catch (error) {
      if (this.#statusLeft !== 0) return this.#statusLeft
      // With --rm it can be gone before we have asked for its streams: what is left of it is in the log.
      const exitCode = errorCodeOf(error) === 'not_found' ? await this.#exitInHistory() : undefined
      if (exitCode === undefined) throw error
      process.stderr.write(`purser: container ${this.#command.subject} was removed before its output could be read\n`)
      return exitCode
    }
  }

  /** From now on signals are the process's: it is there to be told, also of those that came too early or too late. */
  #forward(): void {
    if (this.#isForwarding) return
    this.#isForwarding = true
    const forward = this.#forwarding()
    this.#signals.handler = forward
    for (const signal of this.#kept) forward(signal, 1)
    if (this.#cancelled !== undefined) forward(this.#cancelled, 1)
  }

  #forwarding(): SignalHandler {
    return forwarding(
      (signal) => this.#client.submit('task.kill', { subject: this.#command.subject, payload: { signal } }),
      (status) => {
        this.#statusLeft = status
        this.#left.abort()
      },
    )
  }

  async #exitInHistory(): Promise<number | undefined> {
    const { id, subject } = this.#command
    const events = await this.#client.history(`task/${subject}`)
    const begun = events.findIndex(({ type, correlationid }) => type === 'task.started' && correlationid === id)
    const exit = begun < 0 ? undefined : events.slice(begun).find(({ type }) => type === 'task.exited')
    return typeof exit?.data.exitCode === 'number' ? exit.data.exitCode : undefined
  }
}
