import { whileWanted } from '../model/concurrency.ts'
import { errorCodeOf, PurserError } from '../model/errors.ts'
import { Secret } from '../model/secret.ts'
import { type Challenge, parseChallenges } from './challenge.ts'
import { type Credentials, type CredentialsSource, sameCredentials } from './credentials.ts'
import type { RegistryHost } from './hosts.ts'
import { basicAuthorization, fetchToken, loginNeeded } from './token-service.ts'
import type { Transport, TransportResponse } from './transport.ts'

const CACHED_MAX = 1000
/** A token says for how long it holds, but not when it was on its way: it is renewed this much before. */
const EXPIRY_MARGIN_MS = 10_000

/** What is wanted of whom. */
export interface AuthTarget {
  host: RegistryHost
  /** What requests go to. */
  api: URL
  /** The key of its credentials: the registry as references have it, or a mirror's own name. */
  registry: string
  repository: string
  /** `repository:library/alpine:pull` */
  scopes: readonly string[]
}

interface Grant {
  /** What it was got with. */
  credentials: Credentials | undefined
  authorization: Secret
  expiresAtMs: number
}

/**
 * Values of `Authorization`, by host and scope: learnt from a challenge, kept until they expire or are refused, and fetched
 * once however many ask.
 *
 * @see distribution, docs/spec/auth/token.md and oauth.md
 */
export class Authorizer {
  readonly #transport: Transport
  readonly #credentials: CredentialsSource
  readonly #plainHttp: (registry: string) => boolean
  readonly #lifetime: AbortSignal
  readonly #grants = new Map<string, Grant>()
  readonly #underWay = new Map<string, Promise<Secret>>()

  /** @param lifetime ends what is shared between callers and so cannot end with one of them */
  constructor(
    transport: Transport,
    credentials: CredentialsSource,
    plainHttp: (registry: string) => boolean,
    lifetime: AbortSignal,
  ) {
    this.#transport = transport
    this.#credentials = credentials
    this.#plainHttp = plainHttp
    this.#lifetime = lifetime
  }

  /** One that knows what this one knows not: its credentials are for its caller, and so is what they open. */
  withCredentials(credentials: CredentialsSource): Authorizer {
    return new Authorizer(this.#transport, credentials, this.#plainHttp, this.#lifetime)
  }

  /** What is known to have been accepted, so that most requests need no challenge. */
  known(target: AuthTarget): Secret | undefined {
    const grant = this.#grants.get(keyOf(target))
    return grant && grant.expiresAtMs > Date.now() ? grant.authorization : undefined
  }

  /**
   * Answers a challenge.
   *
   * @param refused what the request carried
   * @throws PurserError unauthenticated, or Retryable when the token service is away
   */
  async answer(
    target: AuthTarget,
    response: TransportResponse,
    refused: Secret | undefined,
    signal: AbortSignal,
  ): Promise<Secret> {
    const key = keyOf(target)
    const known = this.known(target)
    if (known && known !== refused) return known // Another caller has renewed it meanwhile.
    this.#grants.delete(key)

    const challenges = parseChallenges(response.header('www-authenticate') ?? '')
    const underWay = this.#underWay.get(key) ?? this.#keep(key, this.#grant(target, challenges, refused !== undefined))
    return await whileWanted(underWay, signal)
  }

  /**
   * Another value, for one that was refused as soon as it was got: what is kept of credentials may have been withdrawn.
   *
   * @returns undefined when whoever gives the credentials gives the same again
   */
  async renewed(target: AuthTarget, response: TransportResponse, signal: AbortSignal): Promise<Secret | undefined> {
    const { registry, repository } = target
    const used = this.#grants.get(keyOf(target))
    if (!used?.credentials) return undefined
    const fresh = await whileWanted(this.#credentials({ registry, repository, refused: true }, this.#lifetime), signal)
    if (sameCredentials(fresh, used.credentials)) return undefined
    const challenges = parseChallenges(response.header('www-authenticate') ?? '')
    return await whileWanted(this.#keep(keyOf(target), this.#grantWith(fresh, target, challenges)), signal)
  }

  #keep(key: string, granting: Promise<Grant>): Promise<Secret> {
    const obtaining = granting.then((grant) => {
      const oldest = this.#grants.keys().next()
      if (this.#grants.size >= CACHED_MAX && !oldest.done) this.#grants.delete(oldest.value)
      this.#grants.set(key, grant)
      return grant.authorization
    })
    this.#underWay.set(key, obtaining)
    const done = () => this.#underWay.delete(key)
    obtaining.then(done, done)
    return obtaining
  }

  /** What is kept of credentials may have been withdrawn: where it is refused, it is asked for once more. */
  async #grant(target: AuthTarget, challenges: Challenge[], wasRefused: boolean): Promise<Grant> {
    const { registry, repository } = target
    const ask = (refused: boolean) => this.#credentials({ registry, repository, refused }, this.#lifetime)
    const credentials = await ask(wasRefused)
    try {
      return await this.#grantWith(credentials, target, challenges)
    } catch (error) {
      if (wasRefused || errorCodeOf(error) !== 'unauthenticated' || !credentials) throw error
      const fresh = await ask(true)
      if (sameCredentials(fresh, credentials)) throw error
      return await this.#grantWith(fresh, target, challenges)
    }
  }

  async #grantWith(credentials: Credentials | undefined, target: AuthTarget, challenges: Challenge[]): Promise<Grant> {
    const { registry } = target
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer')
    if (bearer && credentials?.kind !== 'registry-token') return await this.#token(target, bearer, credentials)
    if (credentials?.kind === 'registry-token') return lasting(`Bearer ${credentials.token.reveal()}`, credentials)

    const basic = challenges.some(({ scheme }) => scheme === 'basic')
    if (basic && credentials?.kind === 'password') return lasting(basicAuthorization(credentials), credentials)
    if (basic) throw loginNeeded(registry, credentials)
    const offered = challenges.map(({ scheme }) => scheme).join(', ') || 'none'
    throw new PurserError(
      'unauthenticated',
      `${registry} asks for authentication in no way that is known (${offered})`,
      {
        remedy: 'use a registry that takes Basic or Bearer authentication',
      },
    )
  }

  async #token(target: AuthTarget, challenge: Challenge, credentials: Credentials | undefined): Promise<Grant> {
    const { token, holdsMs } = await fetchToken({
      transport: this.#transport,
      target,
      challenge,
      credentials,
      mayBePlain: target.api.protocol === 'http:' ? () => true : this.#plainHttp,
      signal: this.#lifetime,
    })
    const expiresAtMs = Date.now() + holdsMs - EXPIRY_MARGIN_MS
    return { credentials, authorization: new Secret(`Bearer ${token}`), expiresAtMs }
  }
}

const keyOf = ({ registry, api, scopes }: AuthTarget): string => [registry, api.origin, ...scopes].join(' ')

const lasting = (authorization: string, credentials: Credentials): Grant => ({
  credentials,
  authorization: new Secret(authorization),
  expiresAtMs: Number.POSITIVE_INFINITY,
})
