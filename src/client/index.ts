import type { IncomingMessage } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { PurserError } from '../model/errors.ts'
import type { StoredEvent } from '../model/event.ts'
import type { AuditPage, AuditRow } from '../projections/audit/query.ts'
import type { CommandProgress } from '../projections/progress.ts'
import type { SliReport } from '../projections/sli/report.ts'
import type { CommandView, ContainerView, ImageView, PoolView, ProjectView, SandboxView } from '../projections/views.ts'
import { dropArchive, sendArchive } from './archives.ts'
import type { CommandPayload, CommandType } from './commands.ts'
import { bytesOf, exchange, fateOf, linesOf, problemOf, type RequestOptions, type Requests, textOf } from './http.ts'
import { JobsClient } from './jobs.ts'
import { type LogLine, SeenLines } from './log-lines.ts'
import { randomUuid } from './random.ts'
import { serverSentEvents } from './server-sent-events.ts'

import type {
  ArchivedImage,
  Claimed,
  ClientOptions,
  EventsOptions,
  Exit,
  Lists,
  LogsOptions,
  SubmitOptions,
  SucceededCommand,
} from './types.ts'

export { PurserError } from '../model/errors.ts'
export type { NetworkView } from '../projections/views.ts'
export type { JobLogLine, JobLogsOptions, JobRequest, JobView, SubmitJobOptions } from './jobs.ts'
export { isActiveJob } from './jobs.ts'
export type {
  ArchivedImage,
  Claimed,
  ClientOptions,
  ContentView,
  EventsOptions,
  Exit,
  Lists,
  LogsOptions,
  NamespaceView,
  SnapshotView,
  SubmitOptions,
  SucceededCommand,
  TaskView,
} from './types.ts'
export type {
  CommandPayload,
  CommandProgress,
  CommandType,
  CommandView,
  ContainerView,
  ImageView,
  LogLine,
  PoolView,
  ProjectView,
  SandboxView,
  StoredEvent,
}

type Query = Record<string, string | readonly string[] | undefined>

/** Seconds that one request waits; then it is asked again. */
const WAIT_SECONDS = 300
const RECONNECT_MS = 60_000
const BACKOFF_MS_MIN = 50
const BACKOFF_MS_MAX = 1000

/**
 * A client of the daemon's HTTP API. Every failure is a PurserError with the daemon's code, message and remedy; waits survive
 * a restart of the daemon.
 *
 *     const client = new PurserClient()
 *     const run = await client.execute('container.run', { payload: { image: 'busybox', options: { args: ['true'] } } })
 *     const { exitCode } = await client.exitOf(run.subject)
 *     for await (const event of client.events({ follow: true, types: ['task.*'] })) console.log(event.type)
 */
export class PurserClient {
  readonly socketPath: string
  readonly namespace: string
  readonly #traceparent: string | undefined
  readonly #reconnectMs: number
  readonly #requests: Requests
  /** Jobs that run to completion: submitted, waited for, read. */
  readonly jobs: JobsClient

  constructor({
    socketPath = '/run/purser/purser.sock',
    namespace = 'default',
    traceparent,
    reconnectMs = RECONNECT_MS,
  }: ClientOptions = {}) {
    this.socketPath = socketPath
    this.namespace = namespace
    this.#traceparent = traceparent
    this.#reconnectMs = reconnectMs
    this.#requests = {
      socketPath,
      json: (path, options) => this.#json(path, options),
      open: (path, options) => this.#open(path, options),
      persist: (ask, from, signal) => this.#persist(ask, from, signal),
    }
    this.jobs = new JobsClient(this.#requests)
  }

  /**
   * Has something done, and returns when the command is durable: it will be carried out whatever becomes of this process.
   *
   * @throws PurserError invalid_argument, naming the field; unavailable when no daemon answers
   */
  async submit<T extends CommandType>(type: T, options: SubmitOptions<T> = {}): Promise<CommandView> {
    const { subject, payload, priority, deadline, idempotencyKey = randomUuid(), traceparent, signal } = options
    const { registryAuth } = options
    const headers = {
      prefer: 'respond-async',
      'idempotency-key': idempotencyKey,
      ...(traceparent === undefined ? {} : { traceparent }),
      ...(registryAuth === undefined
        ? {}
        : { 'x-registry-auth': Buffer.from(JSON.stringify(registryAuth)).toString('base64url') }),
    }
    const body = { type, subject, payload, priority, deadline }
    // With a key the answer that was lost can be asked for again.
    return await this.#persist(
      () => this.#json('/v1/commands', { method: 'POST', body, headers, signal }),
      'lost',
      signal,
    )
  }

  /**
   * Has something done, and returns when it is done, however long that takes.
   *
   * @throws PurserError what the command failed with
   */
  async execute<T extends CommandType>(type: T, options: SubmitOptions<T> = {}): Promise<SucceededCommand> {
    return await this.ended((await this.submit(type, options)).id, options.signal)
  }

  /** Waits for a command to succeed. @throws PurserError what it failed with */
  async ended(id: string, signal?: AbortSignal): Promise<SucceededCommand> {
    const headers = { prefer: `wait=${WAIT_SECONDS}` }
    for (;;) {
      const command = await this.#persist(
        () => this.#json<CommandView>(`/v1/commands/${encodeURIComponent(id)}`, { headers, signal }),
        'any',
        signal,
      )
      if ('error' in command) throw PurserError.fromBody(command.error)
      if ('result' in command) return command
    }
  }

  /** A command as it is now. @throws PurserError not_found */
  async command(id: string): Promise<CommandView> {
    return await this.#json(`/v1/commands/${encodeURIComponent(id)}`)
  }

  /** Asks for a command to be cancelled. @throws PurserError not_found, or failed_precondition when it has ended */
  async cancel(id: string): Promise<void> {
    await this.#json(`/v1/commands/${encodeURIComponent(id)}`, { method: 'DELETE' })
  }

  /**
   * Sends an archive of images for `image.import`, in pieces that are sent again where the connection broke off.
   *
   * @returns its id, to be named as the command's `ingest`
   */
  async sendArchive(bytes: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<string> {
    return await sendArchive(this.#requests, bytes, signal)
  }

  /** The images of an archive that was sent. */
  async archivedImages(id: string, baseName?: string): Promise<ArchivedImage[]> {
    const path = pathWith(`/v1/ingests/${id}/images`, { baseName })
    return (await this.#json<{ items: ArchivedImage[] }>(path)).items
  }

  async dropArchive(id: string): Promise<void> {
    await dropArchive(this.#requests, id)
  }

  /** The archive that a succeeded `image.export` has announced. @throws PurserError unavailable when it breaks off */
  async *fetchArchive(commandId: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    yield* this.download(`/v1/exports/${commandId}`, {}, signal)
  }

  /** The bytes of a resource, such as `/v1/containers/ID/archive`. @throws PurserError unavailable when it breaks off */
  async *download(path: string, query: Query = {}, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    yield* bytesOf(await this.#open(pathWith(path, query), { signal }), this.socketPath)
  }

  /** How far a command and its steps are, until it has ended. */
  async *progress(id: string, signal?: AbortSignal): AsyncGenerator<CommandProgress> {
    const path = `/v1/commands/${encodeURIComponent(id)}/progress`
    const response = await this.#open(path, { headers: { accept: 'text/event-stream' }, signal })
    for await (const { event, data } of serverSentEvents(linesOf(response, this.socketPath))) {
      if (event === 'end') return
      if (data !== undefined) yield JSON.parse(data)
    }
  }

  /** Every item of a list, page by page. `query.label` takes docker's filters: `k`, `k=v`, `k!=v`. */
  async *list<K extends keyof Lists>(name: K, query: Query = {}, signal?: AbortSignal): AsyncGenerator<Lists[K]> {
    let cursor: string | undefined
    do {
      const page: { items: Lists[K][]; next?: string } = await this.#json(
        pathWith(`/v1/${name}`, { ...query, cursor }),
        {
          signal,
        },
      )
      yield* page.items
      cursor = page.next
    } while (cursor !== undefined)
  }

  /**
   * Seals values of variables for this client's namespace: as `NAME=SEALED` in `env` they reach the process, and no command,
   * event or answer has them in it.
   */
  async seal(values: Readonly<Record<string, string>>): Promise<Record<string, string>> {
    return (await this.post<{ sealed: Record<string, string> }>('/v1/seal', {}, { values })).sealed
  }

  /** A container, by its id or a unique beginning of it. @throws PurserError not_found, or invalid_argument for several */
  async container(id: string): Promise<ContainerView> {
    return await this.#json(`/v1/containers/${encodeURIComponent(id)}`)
  }

  /** An image, by any name that docker understands. @throws PurserError not_found */
  async image(name: string): Promise<ImageView> {
    return await this.#json(`/v1/images/${encodeURIComponent(name)}`)
  }

  /**
   * Takes a warm task from a pool.
   *
   * @param options.payload what the process is told, and what happens when no task is ready
   */
  async claim(pool: string, options: Omit<SubmitOptions<'pool.claim'>, 'subject' | 'priority'> = {}): Promise<Claimed> {
    const { payload, deadline, idempotencyKey = randomUuid(), signal } = options
    const body = { ...payload, deadline }
    const headers = { 'idempotency-key': idempotencyKey }
    const path = `/v1/pools/${encodeURIComponent(pool)}/claim`
    return await this.#persist(() => this.#json(path, { method: 'POST', body, headers, signal }), 'lost', signal)
  }

  /** Waits for the exit of a container's present or last task, also over a restart of the daemon. */
  async exitOf(id: string, signal?: AbortSignal): Promise<Exit> {
    const path = `/v1/containers/${encodeURIComponent(id)}/wait`
    return await this.#persist(() => this.#json(path, { signal }), 'answered', signal)
  }

  /**
   * What a container has written. With `follow` until it has ended: when the daemon goes away it waits for it to come back, and
   * goes on after the last line that was seen.
   *
   * @throws PurserError not_found
   */
  async *logs(id: string, { follow = false, tail, since, until, signal }: LogsOptions = {}): AsyncGenerator<LogLine> {
    const path = `/v1/containers/${encodeURIComponent(id)}/logs`
    const seen = new SeenLines()
    const query = { follow: follow ? 'true' : undefined, tail: tail?.toString(), since, until }
    const ask = () => this.#open(pathWith(path, { ...query, ...seen.resumption() }), { signal })
    for (let response = await ask(); ; response = await this.#persist(ask, 'any', signal)) {
      try {
        for await (const line of seen.fresh(linesOf(response, this.socketPath))) yield line
        return
      } catch (error) {
        if (!follow || !isUnavailable(error)) throw error
      }
    }
  }

  /**
   * Events in the order of the log. With `follow` it goes on for ever: when the daemon goes away it waits for it to come
   * back, and resumes after the last event that was seen, so that none is missed and none comes twice.
   *
   * @throws PurserError unavailable when no daemon answers at first; out_of_range when the log was replaced by another
   */
  async *events(options: EventsOptions = {}): AsyncGenerator<StoredEvent> {
    const {
      since,
      until,
      follow = false,
      types,
      subjects,
      actors,
      commands,
      correlations,
      traces,
      namespace,
      signal,
    } = options
    const query = {
      since: since?.toString(),
      until: until?.toString(),
      follow: String(follow),
      type: types,
      subject: subjects,
      actor: actors,
      command: commands,
      correlation: correlations,
      trace: traces,
      namespace,
    }
    const path = pathWith('/v1/events', query)
    let lastId: string | undefined
    let backoffMs = BACKOFF_MS_MIN
    let wasThere = false
    for (;;) {
      try {
        const headers = { accept: 'text/event-stream', ...(lastId === undefined ? {} : { 'last-event-id': lastId }) }
        const response = await exchange(this.socketPath, path, { headers, signal })
        wasThere = true
        for await (const { id, event, data } of serverSentEvents(linesOf(response, this.socketPath))) {
          lastId = id
          if (data === undefined) continue
          const value = JSON.parse(data)
          if (event === 'error') throw PurserError.fromBody(problemOf(value, 500))
          backoffMs = BACKOFF_MS_MIN
          yield value
        }
        if (!follow) return
      } catch (error) {
        wasThere ||= fateOf(error) === 'lost'
        if (!wasThere || !canResume(error)) throw error
      }
      await delay(backoffMs, undefined, { signal })
      backoffMs = Math.min(2 * backoffMs, BACKOFF_MS_MAX)
    }
  }

  /**
   * Rows of the audit trail, page by page; of all namespaces unless the query names one.
   *
   * @param query filters as `GET /v1/audit` takes them
   */
  async *audit(query: Query = {}, signal?: AbortSignal): AsyncGenerator<AuditRow> {
    let cursor: string | undefined
    do {
      const page = await this.#ofAll<AuditPage>('/v1/audit', { ...query, cursor }, signal)
      yield* page.items
      cursor = page.next
    } while (cursor !== undefined)
  }

  /** The service level indicators, of the whole node unless the query names a namespace. */
  async indicators(query: Query = {}): Promise<SliReport> {
    return await this.#ofAll('/v1/sli', query)
  }

  /** All about a subject (`c1`, `task/c1`, an image), with the commands that led to it. */
  async history(subject: string): Promise<StoredEvent[]> {
    return (await this.#json<{ items: StoredEvent[] }>(`/v1/history/${encodeURIComponent(subject)}`)).items
  }

  /** How tasks are, by log, shim and host. */
  async taskDoctor<T>(of: 'namespace' | 'all'): Promise<T[]> {
    const query = of === 'all' ? {} : { namespace: this.namespace }
    return (await this.#ofAll<{ items: T[] }>('/v1/doctor/tasks', query)).items
  }

  /** What is of all namespaces unless the query names one. */
  async #ofAll<T>(path: string, query: Query, signal?: AbortSignal): Promise<T> {
    const answer = await exchange(this.socketPath, pathWith(path, query), { signal })
    return JSON.parse(await textOf(answer, this.socketPath))
  }

  /** Any other resource of the API: `/v1/info`. */
  async get<T = Record<string, unknown>>(path: string, query: Query = {}): Promise<T> {
    return await this.#json(pathWith(path, query))
  }

  async post<T = Record<string, unknown>>(path: string, query: Query = {}, body?: unknown): Promise<T> {
    return await this.#json(pathWith(path, query), { method: 'POST', body })
  }

  /**
   * Asks until there is an answer, while a daemon that was there may come back.
   *
   * @param from which failure on: of a request that broke off, of one that was answered `unavailable` too, or of any
   */
  async #persist<T>(ask: () => Promise<T>, from: 'lost' | 'answered' | 'any', signal?: AbortSignal): Promise<T> {
    let wasThere = from === 'any'
    let goneSince: number | undefined
    for (let backoffMs = BACKOFF_MS_MIN; ; backoffMs = Math.min(2 * backoffMs, BACKOFF_MS_MAX)) {
      const askedAt = performance.now()
      try {
        return await ask()
      } catch (error) {
        const fate = fateOf(error)
        wasThere ||= fate === 'lost' || fate === from
        const now = performance.now()
        // One that held the request for long was there.
        if (goneSince === undefined || now - askedAt > BACKOFF_MS_MAX) goneSince = now
        if (!wasThere || !isUnavailable(error) || now - goneSince > this.#reconnectMs) throw error
      }
      await delay(backoffMs, undefined, { signal })
    }
  }

  async #json<T>(path: string, options: RequestOptions = {}): Promise<T> {
    // The daemon and its clients are one release: its answers have the shapes that both import.
    return JSON.parse(await textOf(await this.#open(path, options), this.socketPath)) as T
  }

  #open(path: string, options: RequestOptions): Promise<IncomingMessage> {
    const headers = {
      'purser-namespace': this.namespace,
      ...(this.#traceparent === undefined ? {} : { traceparent: this.#traceparent }),
      ...options.headers,
    }
    return exchange(this.socketPath, path, { ...options, headers })
  }
}

/** Also after a client that read too slowly was cut off. */
const canResume = (error: unknown): boolean =>
  isUnavailable(error) || (error instanceof PurserError && error.code === 'aborted')

const isUnavailable = (error: unknown): boolean => error instanceof PurserError && error.code === 'unavailable'

function pathWith(path: string, query: Query): string {
  const given = Object.entries(query).flatMap(([key, value]) =>
    value === undefined ? [] : [value].flat().map((each): [string, string] => [key, each]),
  )
  return given.length === 0 ? path : `${path}?${new URLSearchParams(given)}`
}
