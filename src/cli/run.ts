import type { CommandView, PurserClient } from '../client/index.ts'
import { errorCodeOf } from '../model/errors.ts'
import { defineVerb } from './line/verb.ts'
import { containerOptions, containerPayload, DETACH_KEYS, detachOption, submitOptions } from './options/container.ts'
import { attach } from './terminal/attach.ts'
import { showProgress } from './terminal/progress.ts'
import { forwardSignals, hearSignals, statusOf } from './terminal/signals.ts'

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
  passThrough: true,
  failsLike: 'docker',
  async run({ client, flags, args: [image = '', ...args] }) {
    const payload = containerPayload(image, args, flags)
    const accepted = await client.submit('container.run', { ...submitOptions(flags), payload })
    if (flags.detach) return await startDetached(client, accepted, flags.quiet)
    const { interactive, tty } = flags
    return await runAttached(client, accepted, {
      interactive,
      tty,
      quiet: flags.quiet,
      detachKeys: flags['detach-keys'] ?? DETACH_KEYS,
    })
  },
})

interface Attached {
  interactive: boolean
  tty: boolean
  quiet: boolean
  detachKeys: readonly number[]
}

async function startDetached(client: PurserClient, accepted: CommandView, quiet: boolean): Promise<number> {
  using starting = new Starting(client, accepted, quiet)
  const status = await starting.ended()
  if (status === 0) process.stdout.write(`${accepted.subject}\n`)
  return status
}

async function runAttached(client: PurserClient, accepted: CommandView, how: Attached): Promise<number> {
  const id = accepted.subject
  const left = new AbortController()
  let statusLeft = 0
  using starting = new Starting(client, accepted, how.quiet)
  const query = new URLSearchParams({ wait: 'true', replay: 'true', command: accepted.id })
  if (how.interactive) query.set('stdin', 'true')
  const { interactive, tty, detachKeys } = how
  const attached = attach(client, {
    path: `/v1/containers/${encodeURIComponent(id)}/attach?${query}`,
    interactive,
    tty,
    detachKeys,
    signal: left.signal,
    onOutput: () => starting.hideProgress(),
  })
  attached.catch(() => {}) // Looked at below, after what the command says.
  try {
    const cancelled = await starting.ended()
    if (cancelled !== 0) return cancelled
    using _ = forwardSignals(
      (signal) => client.submit('task.kill', { subject: id, payload: { signal } }),
      (status) => {
        statusLeft = status
        left.abort()
      },
    )
    const exitCode = await attached
    return exitCode === 'detached' ? 0 : exitCode
  } catch (error) {
    if (statusLeft !== 0) return statusLeft
    // With --rm it can be gone before we have asked for its streams: what is left of it is in the log.
    const exitCode = errorCodeOf(error) === 'not_found' ? await exitInHistory(client, accepted) : undefined
    if (exitCode === undefined) throw error
    process.stderr.write(`purser: container ${id} was removed before its output could be read\n`)
    return exitCode
  } finally {
    left.abort()
  }
}

/** A command that starts a container, with bars on a terminal, until it has ended; signals cancel it. */
class Starting implements Disposable {
  readonly #client: PurserClient
  readonly #command: CommandView
  readonly #left = new AbortController()
  readonly #settled = new AbortController()
  readonly #signals: Disposable
  #status = 0

  constructor(client: PurserClient, command: CommandView, quiet: boolean) {
    this.#client = client
    this.#command = command
    this.#signals = hearSignals((signal) => {
      // A second one does not wait for the daemon.
      if (this.#status !== 0) return this.#left.abort()
      this.#status = statusOf(signal)
      client.cancel(command.id).catch(() => {
        // It has ended meanwhile: the process is there to be told.
        this.#status = 0
        client.submit('task.kill', { subject: command.subject, payload: { signal } }).catch(() => {})
      })
    })
    // What the container prints is its own: progress goes to stderr, and only to a terminal.
    if (process.stderr.isTTY && !quiet) {
      showProgress(client, command.id, this.#settled.signal, process.stderr).catch(() => {}) // Bars are no one's concern.
    }
  }

  /** @returns 0 when it has been started, or the status of the signal that it was cancelled by */
  async ended(): Promise<number> {
    try {
      await this.#client.ended(this.#command.id, this.#left.signal)
      return 0
    } catch (error) {
      if (this.#status === 0) throw error
      return this.#status
    } finally {
      this[Symbol.dispose]()
    }
  }

  hideProgress(): void {
    this.#settled.abort()
  }

  [Symbol.dispose](): void {
    this.#settled.abort()
    this.#signals[Symbol.dispose]()
  }
}

async function exitInHistory(client: PurserClient, { id, subject }: CommandView): Promise<number | undefined> {
  const events = await client.history(`task/${subject}`)
  const exit = events.findLast(({ type }) => type === 'task.exited')
  const isOurs = events.some(({ type, correlationid }) => type === 'task.started' && correlationid === id)
  return isOurs && typeof exit?.data.exitCode === 'number' ? exit.data.exitCode : undefined
}
