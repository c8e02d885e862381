import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { PurserError } from '../model/errors.ts'
import { Secret } from '../model/secret.ts'
import type { Credentials, CredentialsSource } from './credentials.ts'
import { type HelperRun, helperFailed, runHelper } from './run-helper.ts'

const authEntry = z.object({
  auth: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  identitytoken: z.string().optional(),
  registrytoken: z.string().optional(),
})
const configFile = z.object({
  auths: z.record(z.string(), authEntry).nullish(),
  credHelpers: z.record(z.string(), z.string()).nullish(),
  credsStore: z.string().nullish(),
})
const helperAnswer = z.object({ Username: z.string(), Secret: z.string() })

/** The key under which Docker has always kept what is for Docker Hub. */
const DOCKER_HUB_KEY = 'https://index.docker.io/v1/'
const DOCKER_HUB_HOSTS = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io'])
/** How every helper says that it has nothing. @see docker-credential-helpers, credentials/error.go */
const NOTHING_FOUND = /credentials not found in native keychain|no credentials server URL|credentials not found/i

export const defaultDockerConfigFile = (): string => join(homedir(), '.docker', 'config.json')

/**
 * Credentials as `docker login` left them: in Docker's config.json, or in the helper that it names. The file is read
 * each time, so that a login counts at once; that there is none is no error.
 *
 * @param helperTimeoutMs how long a helper may take
 * @see docker/cli, cli/config/configfile/file.go
 */
export function dockerCredentials(options: { file?: string; helperTimeoutMs?: number } = {}): CredentialsSource {
  const { file = defaultDockerConfigFile(), helperTimeoutMs = 20_000 } = options
  return async ({ registry }, signal) => {
    const config = await readConfig(file, signal)
    if (!config) return undefined
    const helper = keysOf(registry).flatMap((key) => config.credHelpers?.[key] ?? [])[0] ?? config.credsStore
    if (helper) {
      const found = await askHelper(helper, serverOf(registry), helperTimeoutMs, signal)
      if (found) return found
    }
    return fromAuths(config.auths ?? {}, registry, file)
  }
}

async function readConfig(file: string, signal: AbortSignal): Promise<z.output<typeof configFile> | undefined> {
  let text: string
  try {
    text = await readFile(file, { encoding: 'utf8', signal })
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw new PurserError('failed_precondition', `${file} cannot be read`, {
      remedy: 'let purser read it, or remove it to pull without credentials',
      cause: error,
    })
  }
  try {
    return configFile.parse(JSON.parse(text))
  } catch {
    // Without the cause: a JSON error quotes the text, and the text holds passwords.
    throw new PurserError('failed_precondition', `${file} is not a Docker configuration`, {
      remedy: 'correct it, or remove it and log in again with docker login',
    })
  }
}

function keysOf(registry: string): string[] {
  return isDockerHub(registry) ? [DOCKER_HUB_KEY, ...DOCKER_HUB_HOSTS] : [registry, `https://${registry}`]
}

const isDockerHub = (registry: string): boolean => DOCKER_HUB_HOSTS.has(registry)
const serverOf = (registry: string): string => (isDockerHub(registry) ? DOCKER_HUB_KEY : registry)

/** `https://reg.example:5000/v1/` and `reg.example:5000` are one registry. */
const hostOf = (key: string): string => key.replace(/^https?:\/\//, '').split('/', 1)[0] ?? ''

function fromAuths(
  auths: Record<string, z.output<typeof authEntry>>,
  registry: string,
  file: string,
): Credentials | undefined {
  const sought = isDockerHub(registry) ? DOCKER_HUB_HOSTS : new Set([registry])
  const exact = keysOf(registry).find((key) => Object.hasOwn(auths, key))
  const key = exact ?? Object.keys(auths).find((each) => sought.has(hostOf(each)))
  const entry = key === undefined ? undefined : auths[key]
  if (!entry) return undefined
  if (entry.identitytoken) return { kind: 'identity-token', token: new Secret(entry.identitytoken) }
  if (entry.registrytoken) return { kind: 'registry-token', token: new Secret(entry.registrytoken) }
  if (entry.auth) return decodeAuth(entry.auth, registry, file)
  if (!entry.username) return undefined
  return { kind: 'password', username: entry.username, password: new Secret(entry.password ?? '') }
}

function decodeAuth(auth: string, registry: string, file: string): Credentials {
  const text = Buffer.from(auth, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  if (colon <= 0) {
    throw new PurserError('failed_precondition', `the entry for ${registry} in ${file} is not a user and a password`, {
      remedy: `docker login ${registry}`,
    })
  }
  // Docker pads what it encodes with zero bytes.
  const password = text.slice(colon + 1).replace(/\0+$/, '')
  return { kind: 'password', username: text.slice(0, colon), password: new Secret(password) }
}

/** @see docker-credential-helpers, client/client.go, `Get` */
async function askHelper(
  helper: string,
  server: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Credentials | undefined> {
  const program = `docker-credential-${helper}`
  const run: HelperRun = {
    what: `the credential helper ${program}`,
    program,
    args: ['get'],
    input: server,
    timeoutMs,
    remedy: `run it by hand (echo ${server} | ${program} get), or remove it from Docker's config.json`,
  }
  if (!/^[A-Za-z0-9._-]{1,100}$/.test(helper)) throw helperFailed(run, 'has no name that a program can have')
  const { stdout, exitCode } = await runHelper(run, signal)
  if (exitCode !== 0) {
    if (NOTHING_FOUND.test(stdout)) return undefined
    throw helperFailed(run, `failed with exit status ${exitCode}`)
  }
  const answer = parseAnswer(stdout)
  if (!answer) throw helperFailed(run, 'gave an answer that is not understood')
  if (answer.Secret === '') return undefined
  if (answer.Username === '<token>') return { kind: 'identity-token', token: new Secret(answer.Secret) }
  return { kind: 'password', username: answer.Username, password: new Secret(answer.Secret) }
}

function parseAnswer(output: string): z.output<typeof helperAnswer> | undefined {
  try {
    return helperAnswer.parse(JSON.parse(output))
  } catch {
    return undefined // The text holds a password: nothing of it goes on.
  }
}
