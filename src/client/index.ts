import { createInterface } from 'node:readline'
import { json } from 'node:stream/consumers'
import type { StoredEvent } from '../model/event.ts'
import type { CommandView, ContainerView, ImageView } from '../projections/views.ts'
import { exchange, type RequestOptions } from './http.ts'

export { PurserError } from '../model/errors.ts'
export type { CommandView, ContainerView, ImageView, StoredEvent }

export interface SubmitOptions {
  subject?: string | undefined
  payload?: Record<string, unknown>
  priority?: number | undefined
  deadline?: string | undefined
  idempotencyKey?: string | undefined
  /** Seconds to wait for the outcome; 0 returns when the command is durable. */
  waitSeconds?: number
  signal?: AbortSignal
}

const WAIT_SECONDS = 600

/** A typed client of the daemon's HTTP API. Failures are PurserError, with the daemon's code and remedy. */
export class PurserClient {
  readonly socketPath: string
  readonly namespace: string

  constructor({
    socketPath = '/run/purser/purser.sock',
    namespace = 'default',
  }: { socketPath?: string; namespace?: string } = {}) {
    this.socketPath = socketPath
    this.namespace = namespace
  }

  /** @returns the command: ended when it ended within the wait */
  async submit(type: string, options: SubmitOptions = {}): Promise<CommandView> {
    const { subject, payload, priority, deadline, idempotencyKey, waitSeconds = WAIT_SECONDS, signal } = options
    const headers: Record<string, string> = { prefer: waitSeconds > 0 ? `wait=${waitSeconds}` : 'respond-async' }
    if (idempotencyKey !== undefined) headers['idempotency-key'] = idempotencyKey
    const body = { type, subject, payload, priority, deadline }
    return await this.#json('/v1/commands', { method: 'POST', body, headers, ...(signal ? { signal } : {}) })
  }

  command(id: string, waitSeconds = 0): Promise<CommandView> {
    return this.#json(`/v1/commands/${id}`, { headers: waitSeconds > 0 ? { prefer: `wait=${waitSeconds}` } : {} })
  }

  cancel(id: string): Promise<unknown> {
    return this.#json(`/v1/commands/${id}`, { method: 'DELETE' })
  }

  get<T = Record<string, unknown>>(path: string, query: Record<string, string | undefined> = {}): Promise<T> {
    return this.#json(this.#path(path, query))
  }

  post<T = Record<string, unknown>>(path: string, query: Record<string, string | undefined> = {}): Promise<T> {
    return this.#json(this.#path(path, query), { method: 'POST' })
  }

  /** Every item of a list, page by page. */
  async *list<T>(resource: string, query: Record<string, string | undefined> = {}): AsyncGenerator<T> {
    let cursor: string | undefined
    do {
      const page: { items: T[]; next?: string } = await this.get(`/v1/${resource}`, { ...query, cursor })
      yield* page.items
      cursor = page.next
    } while (cursor !== undefined)
  }

  /** Events after a position or time, and with `follow` those to come. */
  async *events(query: Record<string, string | undefined>, signal?: AbortSignal): AsyncGenerator<StoredEvent> {
    for await (const line of this.lines('/v1/events', query, signal)) yield JSON.parse(line)
  }

  /** Lines of a streamed answer. */
  async *lines(path: string, query: Record<string, string | undefined>, signal?: AbortSignal): AsyncGenerator<string> {
    const headers = { accept: 'application/x-ndjson, text/plain, text/event-stream' }
    const response = await exchange(this.socketPath, this.#path(path, query), {
      headers,
      ...(signal ? { signal } : {}),
    })
    yield* createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY })
  }

  #path(path: string, query: Record<string, string | undefined>): string {
    const given = Object.entries(query).filter((entry): entry is [string, string] => entry[1] !== undefined)
    return given.length === 0 ? path : `${path}?${new URLSearchParams(given)}`
  }

  async #json<T>(path: string, options: RequestOptions = {}): Promise<T> {
    const headers: Record<string, string> = { 'purser-namespace': this.namespace }
    const response = await exchange(this.socketPath, path, { ...options, headers: { ...headers, ...options.headers } })
    return (await json(response)) as T
  }
}
