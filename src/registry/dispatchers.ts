import { createHash } from 'node:crypto'
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls'
import { Agent, buildConnector, type Dispatcher, EnvHttpProxyAgent, ProxyAgent } from 'undici'
import { PurserError } from '../model/errors.ts'

/** How a host is connected to. */
export interface Connection {
  /** Authorities besides the system's, in PEM form. */
  ca: readonly string[]
  /** What proves to it who asks, in PEM form. */
  clients: readonly { cert: string; key: string }[]
  /** Whether its certificate must hold. */
  verify: boolean
  dialTimeoutMs?: number
  /** URL of an HTTP proxy. */
  proxy?: string
}

/** What this host's environment says of proxies: `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`; URLs, and names that need none. */
export interface ProxyEnvironment {
  http: string
  https: string
  none: string
}

export const PLAIN_CONNECTION: Connection = { ca: [], clients: [], verify: true }

/** Configurations come and go with the files; so many of them have connections at once. */
const CONFIGURATIONS_MAX = 64
const CONNECTIONS_PER_HOST_MAX = 32
/** More than any registry needs; a server that sends more is cut off. */
const HEADERS_BYTES_MAX = 64 * 1024

/** Connections that are kept open, apart for each way of making them: one made without a check serves no host that has one. */
export class Dispatchers {
  readonly #dialTimeoutMs: number
  readonly #proxies: ProxyEnvironment | undefined
  readonly #byConnection = new Map<string, Dispatcher>()

  constructor(dialTimeoutMs: number, proxies?: ProxyEnvironment) {
    this.#dialTimeoutMs = dialTimeoutMs
    this.#proxies = proxies
  }

  for(connection: Connection): Dispatcher {
    const key = createHash('sha256').update(JSON.stringify(connection)).digest('base64')
    const known = this.#byConnection.get(key)
    if (known) {
      this.#byConnection.delete(key) // Set again below: the first of the map is the one that is longest unused.
      this.#byConnection.set(key, known)
      return known
    }
    const made = this.#make(connection)
    this.#byConnection.set(key, made)
    const [oldest] = this.#byConnection
    if (this.#byConnection.size > CONFIGURATIONS_MAX && oldest) {
      this.#byConnection.delete(oldest[0])
      oldest[1].close().catch(() => {}) // Once what it carries has ended.
    }
    return made
  }

  async destroy(): Promise<void> {
    await Promise.all([...this.#byConnection.values()].map((each) => each.destroy()))
  }

  #make(connection: Connection): Dispatcher {
    const { verify, proxy, dialTimeoutMs = this.#dialTimeoutMs } = connection
    const options = { connections: CONNECTIONS_PER_HOST_MAX, maxHeaderSize: HEADERS_BYTES_MAX, allowH2: false }
    // HTTP/1.1, as layers come faster over a connection each than through one HTTP/2 session in JavaScript.
    const common = { timeout: dialTimeoutMs, allowH2: false }
    const secure = () => ({ ...common, rejectUnauthorized: verify, secureContext: contextOf(connection) })
    if (proxy !== undefined) return new ProxyAgent({ ...options, uri: proxy, requestTls: secure(), proxyTls: common })
    if (this.#proxies) {
      const { http, https, none } = this.#proxies
      const given = { httpProxy: http, httpsProxy: https, noProxy: none }
      const connect = secure()
      return new EnvHttpProxyAgent({ ...options, ...given, connect, requestTls: connect, proxyTls: common })
    }

    const plain = buildConnector(common)
    let sealed: buildConnector.connector | undefined // Made when first needed: reading the authorities takes some 70 ms.
    return new Agent({
      ...options,
      connect: (target, callback) => {
        if (target.protocol !== 'https:') return plain(target, callback)
        try {
          sealed ??= buildConnector(secure())
        } catch (error) {
          return callback(error instanceof Error ? error : new Error(String(error)), null)
        }
        sealed(target, callback)
      },
    })
  }
}

let authorities: string[] | undefined

/** Node's own authorities and the system's: what the host trusts is trusted, and an image without any can still pull. */
function allAuthorities(): string[] {
  authorities ??= [...new Set([...getCACertificates('default'), ...getCACertificates('system')])]
  return authorities
}

function contextOf({ ca, clients, verify }: Connection): SecureContext {
  try {
    return createSecureContext({
      ...(verify ? { ca: [...allAuthorities(), ...ca] } : {}),
      cert: clients.map(({ cert }) => cert),
      key: clients.map(({ key }) => key),
    })
  } catch (cause) {
    throw new PurserError(
      'failed_precondition',
      'a certificate or key that is configured for a registry is not valid',
      {
        remedy: 'check the files that its hosts.toml or directory in certs.d names',
        cause,
      },
    )
  }
}
