import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

export interface Gate extends AsyncDisposable {
  /** `host:port` */
  readonly address: string
  /** Requests that were let through, in their order. */
  readonly passed: { method: string; path: string; bodyBytes: number }[]
  /** Requests with a body that were being received at the same time. */
  readonly bodiesAtOnceMost: number
  /** Scopes that tokens were asked for. */
  readonly scopes: string[]
  /** Breaks off the next request of this method once so much of its body has passed. */
  cutNext(method: string, afterBytes: number): void
  /** Answers the next requests of this method itself, one with each of the statuses, before it has read their bodies. */
  refuseNext(method: string, statuses: readonly number[], headers?: Readonly<Record<string, string>>): void
}

export interface GateOptions {
  /** How clients have to say who they are; not at all when left out. An identity token is its `password`. */
  auth?: { kind: 'basic' | 'token' | 'identity'; user: string; password: string }
}

/** Stands before a registry: hands requests on with their bodies, asks for authentication, breaks connections. */
export async function startGate(registry: string, { auth }: GateOptions = {}): Promise<Gate> {
  const passed: Gate['passed'] = []
  const scopes: string[] = []
  const tokens = new Map<string, string[]>()
  let cut: { method: string; afterBytes: number } | undefined
  let bodies = 0
  let bodiesAtOnceMost = 0
  let refusal: { method: string; statuses: number[]; headers: Readonly<Record<string, string>> } | undefined
  const basic = auth && `Basic ${Buffer.from(`${auth.user}:${auth.password}`).toString('base64')}`

  const challenge = (asked: IncomingMessage, response: ServerResponse): boolean => {
    const { authorization } = asked.headers
    if (auth === undefined) return false
    if (auth.kind === 'basic' && authorization === basic) return false
    if (auth.kind !== 'basic' && authorization?.startsWith('Bearer ')) {
      const granted = tokens.get(authorization.slice(7)) ?? []
      const repository = /^\/v2\/(.+)\/(?:blobs|manifests)\//.exec(asked.url ?? '')?.[1] ?? ''
      const action = ['GET', 'HEAD'].includes(asked.method ?? '') ? 'pull' : 'push'
      const from = new URL(asked.url ?? '', 'http://x').searchParams.get('from')
      const needed = [[repository, action], ...(from === null ? [] : [[from, 'pull']])]
      const allows = ([name, what]: (string | undefined)[]) =>
        granted.some(
          (scope) =>
            scope.startsWith(`repository:${name}:`) &&
            scope
              .split(':')[2]
              ?.split(',')
              .includes(what ?? ''),
        )
      if (needed.every(allows)) return false
    }
    asked.resume()
    const realm = `http://${asked.headers.host}/token`
    const header = auth.kind === 'basic' ? 'Basic realm="gate"' : `Bearer realm="${realm}",service="gate"`
    response.writeHead(401, { 'www-authenticate': header }).end('{}')
    return true
  }

  /** The scopes of a request for a token; undefined when whoever asks may have none. */
  const wantedScopes = async (asked: IncomingMessage, query: URLSearchParams): Promise<string[] | undefined> => {
    if (auth?.kind !== 'identity') return asked.headers.authorization === basic ? query.getAll('scope') : undefined
    const form = new URLSearchParams(await text(asked))
    const isGood = form.get('grant_type') === 'refresh_token' && form.get('refresh_token') === auth.password
    return isGood ? form.getAll('scope') : undefined
  }

  const server = createServer(async (asked, response) => {
    const url = new URL(asked.url ?? '', 'http://x')
    if (url.pathname === '/token') {
      const wanted = await wantedScopes(asked, url.searchParams)
      if (!wanted) return void response.writeHead(401).end('{}')
      const granted = wanted.flatMap((scope) => scope.split(' '))
      scopes.push(...granted)
      const token = randomUUID()
      tokens.set(token, granted)
      return void response.end(JSON.stringify({ token, access_token: token, expires_in: 300 }))
    }
    if (challenge(asked, response)) return
    const status = refusal?.method === asked.method ? refusal?.statuses.shift() : undefined
    if (refusal && status !== undefined) return void response.writeHead(status, refusal.headers).end('{}')
    const entry = { method: asked.method ?? '', path: asked.url ?? '', bodyBytes: 0 }
    passed.push(entry)
    const cutHere = cut?.method === asked.method ? cut : undefined
    if (cutHere) cut = undefined
    const { authorization: _, ...headers } = asked.headers
    const [host, port] = registry.split(':')
    const onward = request({ host, port, method: asked.method, path: asked.url, headers, agent: false })
    onward.on('error', () => response.destroy())
    onward.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers)
      answer.pipe(response)
    })
    const hasBody = Number(asked.headers['content-length'] ?? 0) > 0
    if (hasBody) bodies += 1
    bodiesAtOnceMost = Math.max(bodiesAtOnceMost, bodies)
    try {
      for await (const piece of asked as AsyncIterable<Buffer>) {
        entry.bodyBytes += piece.length
        if (!onward.write(piece)) await once(onward, 'drain')
        if (cutHere && entry.bodyBytes >= cutHere.afterBytes) {
          onward.destroy()
          return void asked.socket.destroy()
        }
      }
      onward.end()
    } catch {
      onward.destroy()
    } finally {
      if (hasBody) bodies -= 1
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    address: `127.0.0.1:${port}`,
    passed,
    get bodiesAtOnceMost() {
      return bodiesAtOnceMost
    },
    scopes,
    cutNext: (method, afterBytes) => {
      cut = { method, afterBytes }
    },
    refuseNext: (method, statuses, headers = {}) => {
      refusal = { method, statuses: [...statuses], headers }
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
