import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { parse as parseYaml } from 'yaml'
import { z } from 'zod'
import { durationMs } from '../model/duration-form.ts'
import { PurserError } from '../model/errors.ts'
import { Secret } from '../model/secret.ts'
import type { Credentials, CredentialsSource } from './credentials.ts'
import { matchesImage } from './match-image.ts'
import { type HelperRun, helperFailed, runHelper } from './run-helper.ts'

const API_VERSIONS = ['v1', 'v1beta1', 'v1alpha1'].map((version) => `credentialprovider.kubelet.k8s.io/${version}`)
const duration = z.string().transform((text, context) => {
  const ms = text === '0' ? 0 : durationMs(text)
  if (ms !== undefined) return ms
  context.addIssue({ code: 'custom', message: 'write a duration such as 12h or 90s' })
  return z.NEVER
})

const provider = z.object({
  name: z.string().regex(/^(?!\.{1,2}$)[^/\s]{1,255}$/, 'the name of a program, without a slash'),
  matchImages: z.array(z.string().min(1)).min(1),
  defaultCacheDuration: duration,
  apiVersion: z.enum(API_VERSIONS),
  args: z.array(z.string()).nullish(),
  env: z.array(z.object({ name: z.string().min(1), value: z.string() })).nullish(),
  tokenAttributes: z.undefined('there are no service accounts here: leave tokenAttributes out').optional(),
})
type Provider = z.output<typeof provider>

const configFile = z.object({
  apiVersion: z.string().regex(/^kubelet\.config\.k8s\.io\/v1(?:beta1|alpha1)?$/),
  kind: z.literal('CredentialProviderConfig'),
  providers: z.array(provider).min(1),
})

const providerAnswer = z.object({
  apiVersion: z.string(),
  kind: z.literal('CredentialProviderResponse'),
  cacheKeyType: z.enum(['Image', 'Registry', 'Global']),
  cacheDuration: duration.nullish(),
  auth: z.record(z.string(), z.object({ username: z.string(), password: z.string() })).nullish(),
})

/** By pattern of the images that they are for. */
type Auth = ReadonlyMap<string, { username: string; password: Secret }>

export interface KubeletProvidersOptions {
  /** A CredentialProviderConfig, or a directory of them, as kubelet's --image-credential-provider-config has it. */
  config: string
  /** Where the plugins are, as --image-credential-provider-bin-dir has it. */
  binDir: string
  timeoutMs?: number
}

/** As long as kubelet gives a plugin. */
const TIMEOUT_MS = 60_000
const CACHED_MAX = 1000

/**
 * Credentials from the plugins that a kubelet asks, configured by its own files. They are read each time; what a plugin gives
 * is kept for as long as it says, unless it turned out not to be good any more.
 *
 * @see Kubernetes, kubelet-credentialprovider.v1 and pkg/credentialprovider/plugin
 */
export function kubeletCredentials({
  config,
  binDir,
  timeoutMs = TIMEOUT_MS,
}: KubeletProvidersOptions): CredentialsSource {
  const cache = new Map<string, { auth: Auth; untilMs: number }>()
  return async ({ registry, repository, refused }, signal) => {
    const image = `${registry}/${repository}`
    for (const each of await readProviders(config)) {
      if (!each.matchImages.some((pattern) => matchesImage(pattern, image))) continue
      const keys = { Image: image, Registry: registry, Global: '' }
      const keyOf = (type: keyof typeof keys) => `${each.name} ${type} ${keys[type]}`
      const kept = (['Image', 'Registry', 'Global'] as const)
        .map((type) => cache.get(keyOf(type)))
        .find((found) => found !== undefined && found.untilMs > Date.now())
      let auth = refused ? undefined : kept?.auth
      if (!auth) {
        const answer = await askProvider(each, join(binDir, each.name), image, timeoutMs, signal)
        auth = answer.auth
        const [oldest] = cache.keys()
        if (cache.size >= CACHED_MAX && oldest !== undefined) cache.delete(oldest)
        const untilMs = Date.now() + (answer.cacheMs ?? each.defaultCacheDuration)
        cache.set(keyOf(answer.cacheKeyType), { auth, untilMs })
      }
      const found = bestOf(auth, image)
      if (found) return found
    }
  }
}

async function askProvider(
  { name, apiVersion, args, env }: Provider,
  program: string,
  image: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<{ auth: Auth; cacheKeyType: 'Image' | 'Registry' | 'Global'; cacheMs: number | undefined }> {
  const run: HelperRun = {
    what: `the credential provider ${name}`,
    program,
    args: args ?? [],
    input: JSON.stringify({ kind: 'CredentialProviderRequest', apiVersion, image }),
    env: Object.fromEntries((env ?? []).map((each) => [each.name, each.value])),
    timeoutMs,
    remedy: `see whether ${program} runs on this host, and what its log says`,
  }
  const { stdout, exitCode } = await runHelper(run, signal)
  if (exitCode !== 0) throw helperFailed(run, `failed with exit status ${exitCode}`)
  const answer = parseAnswer(stdout)
  if (!answer) throw helperFailed(run, 'gave an answer that is not understood')
  if (answer.apiVersion !== apiVersion) throw helperFailed(run, `answers in another version than ${apiVersion}`)
  const auth = Object.entries(answer.auth ?? {}).map(
    ([pattern, { username, password }]) => [pattern, { username, password: new Secret(password) }] as const,
  )
  return { auth: new Map(auth), cacheKeyType: answer.cacheKeyType, cacheMs: answer.cacheDuration ?? undefined }
}

/** The most specific pattern counts. */
function bestOf(auth: Auth, image: string): Credentials | undefined {
  const [best] = [...auth].filter(([pattern]) => matchesImage(pattern, image)).sort(([a], [b]) => b.length - a.length)
  return best && { kind: 'password', ...best[1] }
}

function parseAnswer(output: string): z.output<typeof providerAnswer> | undefined {
  try {
    return providerAnswer.parse(JSON.parse(output))
  } catch {
    return undefined // The text holds passwords: nothing of it goes on.
  }
}

async function readProviders(path: string): Promise<Provider[]> {
  const all: Provider[] = []
  for (const file of await filesOf(path)) {
    const text = await readFile(file, 'utf8').catch((cause: unknown) => {
      throw unusable(file, 'it cannot be read', cause)
    })
    all.push(...parseProviders(text, file))
  }
  const twice = all.find(({ name }, index) => all.findIndex((each) => each.name === name) < index)
  if (twice) throw unusable(path, `it has two providers with the name ${twice.name}`)
  return all
}

async function filesOf(path: string): Promise<string[]> {
  try {
    if (!(await stat(path)).isDirectory()) return [path]
    const names = (await readdir(path)).filter((name) => /\.(?:json|ya?ml)$/.test(name)).sort()
    return names.map((name) => join(path, name))
  } catch (cause) {
    throw unusable(path, 'it cannot be read', cause)
  }
}

function parseProviders(text: string, file: string): Provider[] {
  let document: unknown
  try {
    document = parseYaml(text) // JSON is YAML too.
  } catch (cause) {
    throw unusable(file, 'it is not YAML', cause)
  }
  const { success, data, error } = configFile.safeParse(document)
  if (success) return data.providers
  const issue = error.issues[0]
  throw unusable(file, `${issue?.path.map(String).join('.')}: ${issue?.message}`)
}

function unusable(path: string, why: string, cause?: unknown): PurserError {
  return new PurserError('failed_precondition', `the credential providers in ${path} cannot be used: ${why}`, {
    remedy: "correct it, as kubelet's CredentialProviderConfig, or take registry.credentialProviders out",
    cause,
  })
}
