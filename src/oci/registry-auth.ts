import { z } from 'zod'
import { PurserError } from '../model/errors.ts'
import { Secret } from '../model/secret.ts'

/** Credentials that a request brings along, and the registry that they are for where it says so. */
export interface RegistryAuth {
  /** `host[:port]` as references have it; undefined when they are for whichever registry the request is about. */
  server: string | undefined
  credentials:
    | { kind: 'password'; username: string; password: Secret }
    | { kind: 'identity-token'; token: Secret }
    | { kind: 'registry-token'; token: Secret }
}

const AUTH_CHARACTERS_MAX = 32 * 1024
const HUB = new Set(['index.docker.io', 'registry-1.docker.io', 'docker.io'])

const authConfig = z.object({
  username: z.string().nullish(),
  password: z.string().nullish(),
  auth: z.string().nullish(),
  serveraddress: z.string().nullish(),
  identitytoken: z.string().nullish(),
  registrytoken: z.string().nullish(),
})

/**
 * The header `X-Registry-Auth` as Docker's API has it: an AuthConfig in JSON, in base64url.
 *
 * @throws PurserError invalid_argument, which repeats nothing of it
 * @see Docker Engine API, "Authentication"
 */
export function parseRegistryAuth(header: Secret): RegistryAuth {
  const given = decoded(header.reveal())
  if (!given) throw malformed('it is not a JSON object in base64url')
  const { username, password, auth, identitytoken, registrytoken, serveraddress } = given
  const server = serveraddress ? registryOf(serveraddress) : undefined
  if (identitytoken) return { server, credentials: { kind: 'identity-token', token: new Secret(identitytoken) } }
  if (registrytoken) return { server, credentials: { kind: 'registry-token', token: new Secret(registrytoken) } }
  if (username) return { server, credentials: { kind: 'password', username, password: new Secret(password ?? '') } }
  const text = auth ? Buffer.from(auth, 'base64').toString('utf8') : ''
  const colon = text.indexOf(':')
  if (colon <= 0) throw malformed('it has no username and password, and no token')
  const credentials = { username: text.slice(0, colon), password: new Secret(text.slice(colon + 1)) }
  return { server, credentials: { kind: 'password', ...credentials } }
}

function decoded(text: string): z.output<typeof authConfig> | undefined {
  if (text.length > AUTH_CHARACTERS_MAX) return undefined
  try {
    return authConfig.parse(JSON.parse(Buffer.from(text, 'base64url').toString('utf8')))
  } catch {
    return undefined // A JSON error quotes the text, and the text holds a password.
  }
}

/** `https://index.docker.io/v1/` is docker.io. */
function registryOf(address: string): string {
  const host = address.replace(/^https?:\/\//, '').split('/', 1)[0] ?? ''
  return HUB.has(host) ? 'docker.io' : host
}

function malformed(why: string): PurserError {
  return new PurserError('invalid_argument', `X-Registry-Auth cannot be used: ${why}`, {
    field: 'X-Registry-Auth',
    remedy: 'send {"username":"…","password":"…"} in base64url',
  })
}
