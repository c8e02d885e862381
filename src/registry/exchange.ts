import type { Readable } from 'node:stream'
import { PurserError } from '../model/errors.ts'
import type { Secret } from '../model/secret.ts'
import type { ImageReference } from '../oci/reference.ts'
import type { Authorizer, AuthTarget } from './auth.ts'
import { finalError } from './bodies.ts'
import type { RegistryHost } from './hosts.ts'
import type { Capability } from './hosts-file.ts'
import type { HostPauses } from './pauses.ts'
import { pauseAskedBy, statusFailure } from './status.ts'
import { loginNeeded } from './token-service.ts'
import { speaksNoTls, type Transport, type TransportRequest, type TransportResponse } from './transport.ts'

export interface ApiRequest {
  /** Below the repository, `manifests/latest`; or the URL that an answer of the same host named. */
  path: string | URL
  method: TransportRequest['method']
  headers?: Readonly<Record<string, string>>
  query?: Readonly<Record<string, string>>
  /** Called for each attempt. */
  body?: () => Uint8Array | Readable
}

/** What requests of all images share. */
export interface ExchangeParts {
  transport: Transport
  pauses: HostPauses
  /** A host that asks for a longer pause than this is not waited for. */
  retryAfterMaxMs: number
}

/** One attempt at one host: a request or two, and what the last one was answered with. */
export class Exchange {
  readonly host: RegistryHost
  /** Of the last answer. */
  status: number | undefined
  readonly #ref: ImageReference
  readonly #parts: ExchangeParts
  readonly #auth: Authorizer
  readonly #withoutTls: Set<string>

  /** @param withoutTls hosts that turned out not to speak TLS, to be told of others */
  constructor(
    host: RegistryHost,
    ref: ImageReference,
    parts: ExchangeParts,
    auth: Authorizer,
    withoutTls: Set<string>,
  ) {
    this.host = host
    this.#ref = ref
    this.#parts = parts
    this.#auth = auth
    this.#withoutTls = withoutTls
  }

  /** One attempt of which only success (or a range that cannot be had) comes back. */
  async expect(request: ApiRequest, what: string, signal: AbortSignal): Promise<TransportResponse> {
    const response = await this.request(request, signal)
    const { status } = response
    if (status === 200 || status === 206 || status === 416) return response
    const { registry, repository } = this.#ref
    const asked = nameOf(this.host, registry)
    if (status === 404) {
      response.drop()
      throw new PurserError('not_found', `${what} is not in ${asked}/${repository}`, {
        remedy: 'check its name, tag and spelling; a private repository may ask for docker login first',
      })
    }
    if (status === 403 || (status === 401 && response.redirected)) {
      response.drop()
      const who = response.redirected ? `${response.host}, to which ${asked} redirects,` : asked
      throw new PurserError('permission_denied', `${who} denies access to ${what}`, {
        remedy: `docker login ${asked} as someone who may pull it (purser reads ~/.docker/config.json)`,
      })
    }
    throw await statusFailure(response, `the registry ${response.host}`, signal)
  }

  /** One attempt, without TLS where the host turns out not to speak it and need not. */
  async request(
    request: ApiRequest,
    signal: AbortSignal,
    scopes: readonly string[] = scopesFor(this.#ref, 'pull'),
  ): Promise<TransportResponse> {
    const { name, scheme } = this.host
    const wasSealed = !this.#withoutTls.has(name) // Of several at once, another one may find out first.
    try {
      return await this.#authorised(request, signal, scopes)
    } catch (error) {
      const mayBePlain = scheme === 'https-or-http' && wasSealed
      if (!mayBePlain || !speaksNoTls(finalError(error), name)) throw error
      this.#withoutTls.add(name)
      return await this.#authorised(request, signal, scopes)
    }
  }

  /** One attempt, with a challenge answered where there is one. */
  async #authorised(
    { path, query, body, ...rest }: ApiRequest,
    signal: AbortSignal,
    scopes: readonly string[],
  ): Promise<TransportResponse> {
    const { host } = this
    const { registry, repository } = this.#ref
    const api = this.#apiOf(host)
    const url = path instanceof URL ? path : new URL(`${repository}/${path}`, api)
    if (!(path instanceof URL) && host.namespace !== undefined) url.searchParams.set('ns', host.namespace)
    for (const [name, value] of Object.entries(query ?? {})) url.searchParams.append(name, value)
    const isOwn = url.origin === api.origin
    const send = async (authorization: Secret | undefined): Promise<TransportResponse> => {
      const own = { connection: host.connection, secretHeaders: host.headers, authorization }
      const others = { connection: { ...host.connection, clients: [] } }
      const response = await this.#parts.transport.send({
        ...rest,
        url,
        body: body?.(),
        signal,
        ...(isOwn ? own : others),
      })
      this.status = response.status
      this.#heed(host, response)
      return response
    }

    const target: AuthTarget = { host, api, registry: nameOf(host, registry), repository, scopes }
    const had = isOwn ? this.#auth.known(target) : undefined
    const first = await send(had)
    if (first.status !== 401 || first.redirected || !isOwn) return first
    first.drop()
    const second = await send(await this.#auth.answer(target, first, had, signal))
    if (second.status !== 401 || second.redirected) return second
    second.drop()
    const renewed = had === undefined ? await this.#auth.renewed(target, second, signal) : undefined
    const third = renewed && (await send(renewed))
    if (third && (third.status !== 401 || third.redirected)) return third
    third?.drop()
    throw refusedAfterLogin(target.registry, repository)
  }

  #apiOf({ name, scheme, path }: RegistryHost): URL {
    const isPlain = scheme === 'http' || (scheme === 'https-or-http' && this.#withoutTls.has(name))
    return new URL(`${isPlain ? 'http' : 'https'}://${name}${path}/`)
  }

  /** A host that is asked too much is left alone by everybody for as long as it says. */
  #heed(host: RegistryHost, response: TransportResponse): void {
    const { pauses, retryAfterMaxMs } = this.#parts
    const forMs = response.redirected ? undefined : pauseAskedBy(response)
    if (forMs !== undefined && forMs <= retryAfterMaxMs) pauses.pause(host.name, forMs)
  }
}

/** Whose credentials a host gets: its own, unless it is the registry itself. */
const nameOf = ({ name, namespace }: RegistryHost, registry: string): string =>
  namespace === undefined ? registry : name

/** What a token must be good for. */
export function scopesFor(
  { repository }: ImageReference,
  capability: Capability,
  also: readonly string[] = [],
): string[] {
  return [`repository:${repository}:${capability === 'push' ? 'pull,push' : 'pull'}`, ...also]
}

/** Registries answer so for what one may not see, whether it is there or not. */
function refusedAfterLogin(registry: string, repository: string): PurserError {
  const { code, remedy } = loginNeeded(registry, undefined)
  const message = `${registry} gives no access to ${repository}: it is private, or there is no such repository`
  return new PurserError(code, message, remedy === undefined ? {} : { remedy })
}
