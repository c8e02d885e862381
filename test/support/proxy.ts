import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'

export interface Seen {
  method: string
  path: string
  authorization: string | undefined
  range: string | undefined
  traceparent: string | undefined
  headers: IncomingMessage['headers']
}

export interface TlsOptions {
  cert: string
  key: string
  /** Authority of the clients that are let in, where only such are. */
  clientCa?: string
}

/** What stands in for the registry's answer; `undefined` lets it through. */
export type Rule = (asked: Seen, answer: Upstream, response: ServerResponse) => Promise<boolean> | boolean

/** The registry's own answer, when a rule asks for it. */
export type Upstream = () => Promise<{ status: number; headers: Record<string, string>; body: Buffer }>

/** A server on loopback that hands requests on to a registry, and lies as a test tells it to. */
export async function startProxy(registry: string, tls?: TlsOptions) {
  let rule: Rule = () => false
  const seen: Seen[] = []
  const bodies = new WeakMap<Seen, Promise<Buffer>>()
  const answer = async (incoming: IncomingMessage, response: ServerResponse) => {
    const asked: Seen = {
      method: incoming.method ?? '',
      path: incoming.url ?? '',
      authorization: incoming.headers.authorization,
      range: incoming.headers.range,
      traceparent: incoming.headers.traceparent?.toString(),
      headers: incoming.headers,
    }
    seen.push(asked)
    if (asked.method === 'POST') bodies.set(asked, buffer(incoming))
    const upstream: Upstream = () => ask(registry, incoming)
    try {
      if (await rule(asked, upstream, response)) return
      const { status, headers, body } = await upstream()
      response.writeHead(status, headers).end(incoming.method === 'HEAD' ? undefined : body)
    } catch {
      response.destroy()
    }
  }
  const server =
    tls === undefined
      ? createServer(answer)
      : createTlsServer(
          {
            cert: tls.cert,
            key: tls.key,
            ...(tls.clientCa === undefined ? {} : { ca: tls.clientCa, requestCert: true }),
          },
          answer,
        )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    address: `127.0.0.1:${port}`,
    /** Requests since the last rule was set. */
    seen,
    bodyOf: async (asked: Seen): Promise<string> => String((await bodies.get(asked)) ?? ''),
    /** What the registry itself has at a path. */
    ask: async (path: string, accept = '*/*'): Promise<Buffer> => {
      const response = await fetch(`http://${registry}${path}`, { headers: { accept } })
      return Buffer.from(await response.arrayBuffer())
    },
    /** That are open. */
    connections: (): Promise<number> =>
      new Promise((resolve, reject) =>
        server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
      ),
    /** From now on; forgets what was seen. */
    lie(next: Rule = () => false): void {
      rule = next
      seen.length = 0
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

async function ask(registry: string, incoming: IncomingMessage) {
  const { authorization: _, host: __, ...headers } = incoming.headers
  const [host, port] = registry.split(':')
  const outgoing = request({ host, port, method: incoming.method, path: incoming.url, headers, agent: false })
  outgoing.end()
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
  const answered: Record<string, string> = {}
  for (const [name, value] of Object.entries(response.headers)) if (typeof value === 'string') answered[name] = value
  return { status: response.statusCode ?? 500, headers: answered, body: await buffer(response) }
}
