import { setTimeout as delay } from 'node:timers/promises'
import type { JobRequest } from '../commands/job-request.ts'
import type { JobView } from '../projections/views.ts'
import { bytesOf, fateOf, linesOf, type Requests } from './http.ts'
import { type LogLine, parseLogLine } from './log-lines.ts'
import { randomUuid } from './random.ts'

export type { JobRequest, JobView }

export interface SubmitJobOptions {
  /** Made up without it. */
  id?: string | undefined
  /** Asked again with the same key, it is the same job. A random one by default, for the client's own retries. */
  idempotencyKey?: string | undefined
  /** W3C trace context. */
  traceparent?: string | undefined
  signal?: AbortSignal | undefined
}

export interface JobLogsOptions {
  /** Whether to go on until the job has ended. */
  follow?: boolean
  /** 1 for the first; by default the last one, and with follow those after it. */
  attempt?: number | undefined
  /** 1 for the first; all of them by default. */
  step?: number | undefined
  signal?: AbortSignal | undefined
}

/** Which jobs are meant: all that it says must hold. */
export interface JobSelection {
  /** `queued`, `running`. */
  status?: readonly string[]
  /** k, k=v or k!=v. */
  label?: readonly string[]
  group?: string | undefined
}

/** A line of a job's log, and whose it is. */
export interface JobLogLine extends LogLine {
  attempt: number
  /** 1 for the first. */
  step: number
  stepName: string
}

const WAIT_SECONDS = 300
const AGAIN_MS = 100

export const isActiveJob = ({ status }: JobView): boolean => status === 'queued' || status === 'running'

/** Jobs of the client's namespace: `client.jobs`. */
export class JobsClient {
  readonly #requests: Requests

  constructor(requests: Requests) {
    this.#requests = requests
  }

  /**
   * Has a job run, and returns when it is durable: it will be run whatever becomes of this process.
   *
   * @throws PurserError invalid_argument, naming the field; unavailable when no daemon answers
   */
  async submit(request: JobRequest, options: SubmitJobOptions = {}): Promise<JobView> {
    const { id, idempotencyKey = randomUuid(), traceparent, signal } = options
    const headers = { 'idempotency-key': idempotencyKey, ...(traceparent === undefined ? {} : { traceparent }) }
    const path = `/v1/jobs${id === undefined ? '' : `?id=${encodeURIComponent(id)}`}`
    const ask = () => this.#requests.json<JobView>(path, { method: 'POST', body: request, headers, signal })
    return await this.#requests.persist(ask, 'lost', signal)
  }

  /** @throws PurserError not_found */
  async get(id: string): Promise<JobView> {
    return await this.#requests.json(pathOf(id), {})
  }

  /** The job when it has ended, however; also over restarts of the daemon. @throws PurserError not_found */
  async ended(id: string, signal?: AbortSignal): Promise<JobView> {
    const headers = { prefer: `wait=${WAIT_SECONDS}` }
    for (;;) {
      const ask = () => this.#requests.json<JobView>(pathOf(id), { headers, signal })
      const job = await this.#requests.persist(ask, 'any', signal)
      if (!isActiveJob(job)) return job
    }
  }

  /** Takes a job out of the queue, or has it end. @throws PurserError failed_precondition when it has ended already */
  async cancel(id: string, reason?: string): Promise<JobView> {
    return await this.#requests.json(`${pathOf(id)}/cancel`, { method: 'POST', body: { reason } })
  }

  /** Has all jobs end that are meant, waiting or running. @returns their ids @throws PurserError invalid_argument when nothing says which */
  async cancelAll({ status = [], label = [], group }: JobSelection, reason?: string): Promise<string[]> {
    const query = new URLSearchParams([
      ...status.map((each) => ['status', each]),
      ...label.map((each) => ['label', each]),
      ...(group === undefined ? [] : [['group', group]]),
    ])
    const options = { method: 'POST', body: { reason } } as const
    return (await this.#requests.json<{ items: string[] }>(`/v1/jobs/cancel?${query}`, options)).items
  }

  /** Forgets an ended job, its log and its artifacts. @throws PurserError failed_precondition when it has not ended */
  async remove(id: string): Promise<void> {
    const response = await this.#requests.open(pathOf(id), { method: 'DELETE' })
    response.resume()
  }

  /** What the steps of a job have written, one after the other; with follow also over restarts of the daemon. */
  async *logs(id: string, options: JobLogsOptions = {}): AsyncGenerator<JobLogLine> {
    const { follow = false, step: only, signal } = options
    let job = await this.get(id)
    for (let attempt = options.attempt ?? Math.max(1, job.attempts.length); ; attempt++) {
      for (const [index, { name: stepName }] of job.spec.steps.entries()) {
        const step = index + 1
        if (only !== undefined && only !== step) continue
        const query = new URLSearchParams({ attempt: String(attempt), follow: String(follow) })
        const path = `${pathOf(id)}/steps/${step}/logs?${query}`
        for await (const line of this.#lines(path, follow, signal))
          yield { attempt, step, stepName, ...parseLogLine(line) }
      }
      if (!follow || options.attempt !== undefined) return
      job = await this.#requests.persist(() => this.get(id), 'any', signal)
      if (!isActiveJob(job) && job.attempts.length <= attempt) return
    }
  }

  /** The bytes of an artifact. @param path as the job lists it @throws PurserError not_found */
  async *artifact(id: string, path: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const response = await this.#requests.open(`${pathOf(id)}/artifacts/${encodeURIComponent(path)}`, { signal })
    yield* bytesOf(response, this.#requests.socketPath)
  }

  /** Lines of a log; one that is followed begins anew where it broke off. */
  async *#lines(path: string, follow: boolean, signal?: AbortSignal): AsyncGenerator<Buffer> {
    const { socketPath } = this.#requests
    for (let seen = 0; ; ) {
      try {
        const ask = () => this.#requests.open(path, { signal })
        const response = await (follow && seen > 0 ? this.#requests.persist(ask, 'any', signal) : ask())
        let at = 0
        for await (const line of linesOf(response, socketPath)) {
          if (at++ < seen) continue
          seen += 1
          yield line
        }
        return
      } catch (error) {
        if (!follow || fateOf(error) !== 'lost') throw error
        await delay(AGAIN_MS, undefined, { signal })
        await this.#requests.persist(() => this.#requests.json('/v1/version', { signal }), 'any', signal)
      }
    }
  }
}

const pathOf = (id: string): string => `/v1/jobs/${encodeURIComponent(id)}`
