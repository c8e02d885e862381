import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { z } from 'zod'
import type { TestNode } from '../../test/support/daemon.ts'
import { run } from './run.ts'

const BIN = join(import.meta.dirname, '../../bin/purser')

/** The command as it is installed. */
export const purser = (node: TestNode, ...args: string[]): Promise<string> =>
  run(BIN, ['--address', node.socketPath, ...args])

const ended = z.object({ status: z.literal('succeeded'), subject: z.string() })

/** A client that keeps its connections open, as a program that uses the API would. */
export class Api implements Disposable {
  readonly #socketPath: string
  readonly #agent = new Agent({ keepAlive: true })

  constructor({ socketPath }: { socketPath: string }) {
    this.#socketPath = socketPath
  }

  /** @returns status and body */
  async ask(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<[number, string]> {
    const bytes = body === undefined ? undefined : JSON.stringify(body)
    const json =
      bytes === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(bytes) }
    const sent = request({
      socketPath: this.#socketPath,
      agent: this.#agent,
      method,
      path,
      headers: { ...json, ...headers },
    })
    sent.end(bytes)
    const [response] = await once(sent, 'response')
    return [response.statusCode, await text(response)]
  }

  /** Has a command carried out. @returns its subject, once it has succeeded */
  async execute(type: string, subject: string | undefined, payload: unknown = {}): Promise<string> {
    const [status, body] = await this.ask('POST', '/v1/commands', { type, subject, payload }, { prefer: 'wait=60' })
    const parsed = ended.safeParse(status === 200 ? JSON.parse(body) : undefined)
    if (!parsed.success) throw new Error(`${type}: ${status} ${body}`)
    return parsed.data.subject
  }

  [Symbol.dispose](): void {
    this.#agent.destroy()
  }
}
