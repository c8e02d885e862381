import { z } from 'zod'
import { PurserError } from '../model/errors.ts'
import { Secret } from '../model/secret.ts'
import { readBody } from './bodies.ts'
import { type Challenge, parseChallenges } from './challenge.ts'
import type { Credentials, CredentialsSource } from './credentials.ts'
import { Retryable } from './retry.ts'
import { statusFailure } from './status.ts'
import type { Transport, TransportResponse } from './transport.ts'

const tokenAnswer = z.object({
  token: z.string().min(1).nullish(),
  access_token: z.string().min(1).nullish(),
  expires_in: z.number().nonnegative().nullish(),
})

const ANSWER_BYTES_MAX = 1 << 20
const CACHED_MAX = 1000
/** A token says for how long it holds, but not when it was on its way: it is renewed this much before. */
const EXPIRY_MARGIN_MS = 10_000
/** What a token holds at least, whatever its answer says. @see distribution, docs/spec/auth/token.md, "expires_in" */
const TOKEN_SECONDS_MIN = 60
/** No `push`, whatever the registry would like to have: a token may leak, and then it should do little. */
const PULL_SCOPE = /^repository:[^\s:]+(?::\d+\/[^\s:]+)?:pull$/

export interface AuthTarget {
  /** As references have it: the key of its credentials. */
  registry: string
  /** What requests go to. */
  api: URL
  repository: string
}

interface Grant {
  authorization: Secret
  expiresAtMs: number
}

/**
 * Values of `Authorization`, by registry and repository: learnt from a challenge, kept until they expire or are refused,
 * and fetched once however many ask.
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
    const underWay = this.#underWay.get(key) ?? this.#obtain(key, target, challenges)
    return await whileWanted(underWay, signal)
  }

  #obtain(key: string, target: AuthTarget, challenges: Challenge[]): Promise<Secret> {
    const obtaining = this.#grant(target, challenges).then((grant) => {
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

  async #grant(target: AuthTarget, challenges: Challenge[]): Promise<Grant> {
    const { registry } = target
    const credentials = await this.#credentials(registry, this.#lifetime)
    const bearer = challenges.find(({ scheme }) => scheme === 'bearer')
    if (bearer && credentials?.kind !== 'registry-token') return await this.#token(target, bearer, credentials)
    if (credentials?.kind === 'registry-token') return lasting(`Bearer ${credentials.token.reveal()}`)

    const basic = challenges.some(({ scheme }) => scheme === 'basic')
    if (basic && credentials?.kind === 'password') return lasting(basicAuthorization(credentials))
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
    const realm = this.#realm(target, challenge)
    const scopes = new Set([`repository:${target.repository}:pull`])
    for (const scope of (challenge.parameters.get('scope') ?? '').split(' ')) {
      if (PULL_SCOPE.test(scope) && scopes.size < 4) scopes.add(scope)
    }
    const service = challenge.parameters.get('service')
    const response =
      credentials?.kind === 'identity-token'
        ? await this.#exchange(realm, scopes, service, credentials.token)
        : await this.#ask(realm, scopes, service, credentials?.kind === 'password' ? credentials : undefined)

    if (response.status === 400 || response.status === 401 || response.status === 403) {
      response.drop()
      throw loginNeeded(target.registry, credentials)
    }
    if (response.status !== 200)
      throw await statusFailure(response, `the token service of ${target.registry}`, this.#lifetime)
    const { token, expiresSeconds } = parseToken(
      await readBody(response, ANSWER_BYTES_MAX, this.#lifetime),
      response.host,
    )
    const holdsMs = Math.max(TOKEN_SECONDS_MIN, expiresSeconds) * 1000 - EXPIRY_MARGIN_MS
    return { authorization: new Secret(`Bearer ${token}`), expiresAtMs: Date.now() + holdsMs }
  }

  /** The token service is named by the registry; it must not get credentials in the clear that the registry gets sealed. */
  #realm({ registry, api }: AuthTarget, challenge: Challenge): URL {
    const realm = URL.parse(challenge.parameters.get('realm') ?? '')
    const isSealed = realm?.protocol === 'https:'
    const mayBePlain = realm?.protocol === 'http:' && (api.protocol === 'http:' || this.#plainHttp(realm.host))
    if (realm && realm.username === '' && realm.password === '' && (isSealed || mayBePlain)) return realm
    throw new PurserError('failed_precondition', `${registry} names no token service that can be trusted`, {
      remedy: "the realm of the registry's challenge must be an https URL: correct the registry",
    })
  }

  async #ask(realm: URL, scopes: Iterable<string>, service: string | undefined, account?: PasswordCredentials) {
    const url = new URL(realm)
    if (service !== undefined) url.searchParams.set('service', service)
    for (const scope of scopes) url.searchParams.append('scope', scope)
    if (account) url.searchParams.set('account', account.username)
    return await this.#transport.send({
      url,
      method: 'GET',
      signal: this.#lifetime,
      ...(account ? { authorization: new Secret(basicAuthorization(account)) } : {}),
    })
  }

  async #exchange(realm: URL, scopes: Iterable<string>, service: string | undefined, token: Secret) {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      client_id: 'purser',
      scope: [...scopes].join(' '),
      refresh_token: token.reveal(),
      ...(service === undefined ? {} : { service }),
    })
    return await this.#transport.send({
      url: realm,
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new Secret(form.toString()),
      signal: this.#lifetime,
    })
  }
}

type PasswordCredentials = Extract<Credentials, { kind: 'password' }>

const keyOf = ({ registry, repository }: AuthTarget): string => `${registry}/${repository}`

const lasting = (authorization: string): Grant => ({
  authorization: new Secret(authorization),
  expiresAtMs: Number.POSITIVE_INFINITY,
})

const basicAuthorization = ({ username, password }: PasswordCredentials): string =>
  `Basic ${Buffer.from(`${username}:${password.reveal()}`).toString('base64')}`

function parseToken(bytes: Buffer, host: string): { token: string; expiresSeconds: number } {
  try {
    const answer = tokenAnswer.parse(JSON.parse(bytes.toString('utf8')))
    const token = answer.token ?? answer.access_token
    // It goes into a header as it is.
    if (token && /^[\x21-\x7e]+$/.test(token)) return { token, expiresSeconds: answer.expires_in ?? TOKEN_SECONDS_MIN }
  } catch {
    // Without the cause: a JSON error quotes the text, and the text holds a token.
  }
  const remedy = 'try again later; if it stays so, the token service is at fault'
  throw new Retryable(new PurserError('unavailable', `${host} gives a token that cannot be read`, { remedy }))
}

export function loginNeeded(registry: string, credentials: Credentials | undefined): PurserError {
  const message = credentials
    ? `${registry} refuses the credentials that are there for it`
    : `${registry} asks for a login, and there are no credentials for it`
  return new PurserError('unauthenticated', message, {
    remedy: `docker login ${registry} (purser reads ~/.docker/config.json)`,
  })
}

/** The promise's outcome, unless the signal comes first: then the promise goes on for whoever else waits for it. */
async function whileWanted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  const aborted = Promise.withResolvers<never>()
  const onAbort = () => aborted.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([promise, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
