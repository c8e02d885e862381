import { z } from 'zod'
import { PurserError } from '../model/errors.ts'
import { Secret } from '../model/secret.ts'
import type { AuthTarget } from './auth.ts'
import { readBody } from './bodies.ts'
import type { Challenge } from './challenge.ts'
import type { Credentials } from './credentials.ts'
import { Retryable } from './retry.ts'
import { statusFailure } from './status.ts'
import type { Transport, TransportResponse } from './transport.ts'

const tokenAnswer = z.object({
  token: z.string().min(1).nullish(),
  access_token: z.string().min(1).nullish(),
  expires_in: z.number().nonnegative().nullish(),
})

const ANSWER_BYTES_MAX = 1 << 20
/** What a token holds at least, whatever its answer says. @see distribution, docs/spec/auth/token.md, "expires_in" */
const TOKEN_SECONDS_MIN = 60
/** No `push`, whatever the registry would like to have: a token may leak, and then it should do little. */
const PULL_SCOPE = /^repository:[^\s:]+(?::\d+\/[^\s:]+)?:pull$/
const SCOPES_MAX = 8

export type PasswordCredentials = Extract<Credentials, { kind: 'password' }>

interface TokenRequest {
  transport: Transport
  target: AuthTarget
  challenge: Challenge
  credentials: Credentials | undefined
  /** Whether a token service at `host[:port]` may be asked over plain HTTP. */
  mayBePlain: (host: string) => boolean
  signal: AbortSignal
}

/**
 * A bearer token from the service that a registry's challenge names.
 *
 * @throws PurserError unauthenticated, or Retryable when the service is away
 * @see distribution, docs/spec/auth/token.md and oauth.md
 */
export async function fetchToken(request: TokenRequest): Promise<{ token: string; holdsMs: number }> {
  const { target, challenge, credentials, signal } = request
  const realm = realmOf(request)
  const scopes = new Set(target.scopes)
  for (const scope of (challenge.parameters.get('scope') ?? '').split(' ')) {
    if (PULL_SCOPE.test(scope) && scopes.size < SCOPES_MAX) scopes.add(scope)
  }
  const service = challenge.parameters.get('service')
  const response =
    credentials?.kind === 'identity-token'
      ? await exchange(request, realm, scopes, service, credentials.token)
      : await ask(request, realm, scopes, service, credentials?.kind === 'password' ? credentials : undefined)

  if (response.status === 400 || response.status === 401 || response.status === 403) {
    response.drop()
    throw loginNeeded(target.registry, credentials)
  }
  if (response.status !== 200) throw await statusFailure(response, `the token service of ${target.registry}`, signal)
  const { token, expiresSeconds } = parseToken(await readBody(response, ANSWER_BYTES_MAX, signal), response.host)
  return { token, holdsMs: Math.max(TOKEN_SECONDS_MIN, expiresSeconds) * 1000 }
}

/** The token service is named by the registry; it must not get credentials in the clear that the registry gets sealed. */
function realmOf({ target, challenge, mayBePlain }: TokenRequest): URL {
  const realm = URL.parse(challenge.parameters.get('realm') ?? '')
  const isFit = realm?.protocol === 'https:' || (realm?.protocol === 'http:' && mayBePlain(realm.host))
  if (realm && isFit && realm.username === '' && realm.password === '') return realm
  throw new PurserError('failed_precondition', `${target.registry} names no token service that can be trusted`, {
    remedy: "the realm of the registry's challenge must be an https URL: correct the registry",
  })
}

function ask(
  request: TokenRequest,
  realm: URL,
  scopes: Iterable<string>,
  service: string | undefined,
  account: PasswordCredentials | undefined,
): Promise<TransportResponse> {
  const url = new URL(realm)
  if (service !== undefined) url.searchParams.set('service', service)
  for (const scope of scopes) url.searchParams.append('scope', scope)
  if (account) url.searchParams.set('account', account.username)
  return request.transport.send({
    url,
    method: 'GET',
    ...asHost(request, url),
    signal: request.signal,
    authorization: account && new Secret(basicAuthorization(account)),
  })
}

function exchange(
  request: TokenRequest,
  realm: URL,
  scopes: Iterable<string>,
  service: string | undefined,
  token: Secret,
): Promise<TransportResponse> {
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    client_id: 'purser',
    scope: [...scopes].join(' '),
    refresh_token: token.reveal(),
    ...(service === undefined ? {} : { service }),
  })
  return request.transport.send({
    url: realm,
    method: 'POST',
    ...asHost(request, realm),
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new Secret(form.toString()),
    signal: request.signal,
  })
}

/** A token service has the registry's authorities behind it, but its client certificate only where it is the same server. */
function asHost({ target: { host, api } }: TokenRequest, url: URL) {
  const { connection, headers } = host
  if (url.origin === api.origin) return { connection, secretHeaders: headers }
  return { connection: { ...connection, clients: [] } }
}

export const basicAuthorization = ({ username, password }: PasswordCredentials): string =>
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
