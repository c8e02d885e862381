import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { parse, TomlError } from 'smol-toml'
import { z } from 'zod'
import { logging } from '../commands/logging.ts'
import { duration } from '../model/duration.ts'
import { PurserError } from '../model/errors.ts'
import { Secret } from '../model/secret.ts'
import { sloSchema } from '../projections/sli/objectives.ts'
import { isLoopback } from '../registry/endpoint.ts'
import { trustSchema } from '../trust/policy.ts'
import { cdiSchema } from './cdi-config.ts'
import { cgroupSchema } from './cgroup-config.ts'
import { checkpointsSchema } from './checkpoints-config.ts'
import { jobsSchema } from './jobs-config.ts'
import { networkSchema } from './network-config.ts'
import { pullSchema } from './pull-config.ts'
import { runtimeSchema } from './runtime-config.ts'
import { serveSchema } from './serve-config.ts'
import { snapshotterSchema, unpackSchema } from './snapshot-config.ts'
import { stopSchema } from './stop-config.ts'
import { usernsSchema } from './userns-config.ts'

const concurrency = (limit: number) => z.int().min(1).max(4096).default(limit)

const directory = z.string().startsWith('/', 'a directory is an absolute path: begin it with /')

/** So that the longest socket below it, `redis/redis.sock`, has 107 bytes at most. @see unix(7), sun_path */
const STATE_BYTES_MAX = 90

/**
 * What ioredis takes for a Unix socket is its path alone.
 *
 * @returns the path of `unix:/run/redis.sock` or `unix:///run/redis.sock`; any other URL as it is
 */
function redisAddress(url: string): string {
  return url.startsWith('unix:') ? url.replace(/^unix:(?:\/\/)?/, '') : url
}

/** The configuration file. Keys are refused by name when unknown. */
const configSchema = z.strictObject({
  root: directory.default('/var/lib/purser').describe('what outlives a reboot'),
  state: directory
    .refine(
      (path) => Buffer.byteLength(path) <= STATE_BYTES_MAX,
      `it has ${STATE_BYTES_MAX} bytes at most, or sockets in it could not be connected to`,
    )
    .default('/run/purser')
    .describe('sockets and bundles'),
  node: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$/, 'a node name is letters, digits, dots and hyphens, 63 at most')
    .default(() => hostname()),
  group: z.string().default('purser').describe('may use the socket'),
  log: z
    .strictObject({
      level: z
        .enum(['trace', 'debug', 'info', 'warn', 'error'])
        .default('info')
        .describe("of the daemon's own messages"),
      segmentEvents: z.int().min(1).max(1_000_000).default(16_384).describe('events in a sealed segment, at most'),
      segmentBytes: z.int().min(1024).default(67_108_864).describe('bytes of their JSON, at most'),
      segmentAge: duration.prefault('1h').describe('after which events are sealed, however few'),
      tailEvents: z.int().min(0).default(10_000).describe('sealed events that stay in Redis, at most'),
      tailAge: duration.prefault('24h').describe('after which a sealed event leaves Redis'),
      keepAge: duration.optional().describe('after which sealed segments are dropped; never by default'),
      keepBytes: z.int().min(0).optional().describe('of segments, beyond which the oldest are dropped'),
      snapshotEvents: z.int().min(100).default(100_000).describe('events between two snapshots of the state'),
      checkpointUrl: z
        .url({ protocol: /^https?$/ })
        .optional()
        .describe('is sent each signed head, by POST'),
    })
    .prefault({}),
  audit: z
    .strictObject({
      refused: z.boolean().default(true).describe('record requests that were refused before they became a command'),
      reads: z.boolean().default(false).describe('record requests that only read'),
    })
    .prefault({}),
  redis: z
    .strictObject({
      url: z
        .string()
        .regex(
          /^(?:rediss?:\/\/[^/\s]+|unix:(?:\/\/)?\/[^\s?@]+$)/,
          'a Redis URL is redis://HOST, rediss://HOST or unix:/PATH',
        )
        .transform(redisAddress)
        .optional()
        .describe('of a Redis elsewhere'),
      binary: z.string().optional().describe('redis-server or valkey-server of the embedded Redis'),
      prefix: z
        .string()
        .regex(/^[A-Za-z0-9_-]+$/)
        .default('purser')
        .describe('first part of every key'),
    })
    .prefault({}),
  workers: z
    .strictObject({
      pull: concurrency(32),
      snapshot: concurrency(32),
      task: concurrency(32),
      gc: concurrency(1),
      saga: concurrency(512).describe('composite commands that are under way at once'),
      spareShims: z
        .int()
        .min(0)
        .max(64)
        .default(2)
        .describe('shims that are started ahead, for each runtime and namespace in use'),
      layerThreads: z.int().min(1).max(64).optional().describe('threads that unpack layers; the CPUs by default'),
    })
    .prefault({}),
  pull: pullSchema,
  unpack: unpackSchema,
  registry: z
    .strictObject({
      plainHttp: z
        .array(z.string())
        .default([])
        .describe('registries (host:port) spoken to without TLS, besides loopback'),
      dockerConfig: z.string().optional().describe("docker's config.json with credentials"),
      configPath: z
        .string()
        .default('/etc/containerd/certs.d:/etc/docker/certs.d')
        .describe(
          "directories with a directory per registry, joined by colons: containerd's hosts.toml, docker's certificates",
        ),
      timeout: duration.prefault('30s').describe('in which a host must answer, and go on with what it sends'),
      credentialProviders: z
        .strictObject({
          config: directory.describe("a CredentialProviderConfig, or a directory of them, as kubelet's"),
          binDir: directory.describe('where the plugins are'),
        })
        .optional()
        .describe('plugins that kubelet would ask for credentials'),
      fallback: z
        .enum(['never', 'on-unavailable', 'always'])
        .default('always')
        .describe('whether the next host of a hosts.toml is asked when one has failed'),
      serve: serveSchema,
    })
    .prefault({}),
  tracing: z
    .strictObject({
      endpoint: z
        .url({ protocol: /^https?$/, error: 'an endpoint is a URL: http://collector:4318' })
        .optional()
        .describe('collector that takes OTLP over HTTP; off without one'),
      ratio: z
        .number()
        .min(0)
        .max(1)
        .default(1)
        .describe('share of the traces that are recorded, where the client does not record them itself'),
      headers: z
        .record(
          z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'a header has a name without spaces'),
          z
            .string()
            .regex(/^[\t\x20-\x7e\x80-\xff]*$/, 'a header is one line')
            .transform((value) => new Secret(value)),
        )
        .default({})
        .describe('sent to the collector'),
    })
    .prefault({}),
  images: z
    .strictObject({
      archiveBytes: z
        .int()
        .min(1024)
        .default(68_719_476_736)
        .describe('of an archive that is loaded, when it is decompressed, at most'),
    })
    .prefault({}),
  checkpoints: checkpointsSchema,
  jobs: jobsSchema,
  scrub: z
    .strictObject({
      bytesPerSecond: z.int().min(1024).default(4_194_304).describe('read of stored blobs, to find what has rotted'),
      every: duration.prefault('7d').describe('from the end of one round to the beginning of the next'),
    })
    .transform(({ every, bytesPerSecond }) => ({ everyMs: every, bytesPerSecond }))
    .prefault({}),
  slo: sloSchema,
  logs: z
    .strictObject({
      ...logging.shape,
      whileAway: z
        .enum(['wait', 'keep'])
        .default('wait')
        .describe('what output does while no daemon runs: wait in the pipe, or be kept by a small process beside it'),
    })
    .prefault({})
    .describe('of containers that do not say what becomes of their output'),
  stats: z
    .strictObject({
      every: duration
        .prefault('10s')
        .refine((ms) => ms === 0 || ms >= 1000, 'a second at least, or 0s for none')
        .describe('between two samples of what each running container uses; 0s for none'),
      keep: duration
        .prefault('30m')
        .refine((ms) => ms <= 86_400_000, 'a day at most: samples are kept in memory')
        .describe('how long samples are kept, in memory'),
    })
    .transform(({ every, keep }) => ({ everyMs: every, keepMs: keep }))
    .prefault({}),
  defaultRuntime: z.string().optional().describe('by default crun where it works, or else runc'),
  initPath: z
    .string()
    .startsWith('/', 'a program is an absolute path: begin it with /')
    .optional()
    .describe('init program for --init; docker-init or tini-static by default'),
  stop: stopSchema,
  trust: trustSchema,
  metrics: z
    .strictObject({
      listen: z
        .string()
        .regex(
          /^(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}$/,
          'an address to listen on is HOST:PORT, such as 127.0.0.1:9477',
        )
        .refine((address) => Number(address.slice(address.lastIndexOf(':') + 1)) < 65_536, 'a port is 65535 at most')
        .optional()
        .describe('serves /metrics over TCP too, and nothing else'),
      remote: z.boolean().default(false).describe('allow an address that others can reach; it asks for no credentials'),
    })
    .refine(({ listen, remote }) => remote || listen === undefined || isLoopback(listen), {
      path: ['listen'],
      message: 'not a loopback address: whoever reaches it can read the metrics; say remote = true to mean it',
    })
    .prefault({}),
  network: networkSchema,
  userns: usernsSchema,
  cdi: cdiSchema,
  cgroup: cgroupSchema,
  snapshotter: snapshotterSchema,
  runtime: runtimeSchema.default({}).describe('runtimes by name, besides runc and crun'),
})

const consistentConfig = configSchema.refine(
  ({ jobs: { atOnce = 1 }, workers }) => atOnce <= Math.max(1, workers.saga / 2),
  {
    path: ['jobs', 'atOnce'],
    message: 'it is at most half of workers.saga: the steps of jobs need places there too',
  },
)

export type Config = z.output<typeof configSchema>

export interface ConfigOverrides {
  root?: string | undefined
  state?: string | undefined
  level?: 'debug' | undefined
}

/** May hold a password. */
const SECRET_KEYS = /^(?:redis\.url|log\.checkpointUrl|tracing\.endpoint|tracing\.headers\b.*)$/

/**
 * @param file TOML; defaults without one
 * @param overrides options of the command line, which win
 * @throws PurserError invalid_argument, naming file or option, key and value, and what to write instead
 */
export function loadConfig(file: string | undefined, overrides: ConfigOverrides): Config {
  const given = file === undefined ? {} : parseToml(file)
  const { root, state, level } = overrides
  const merged = { ...given, ...(root === undefined ? {} : { root }), ...(state === undefined ? {} : { state }) }
  const parsed = consistentConfig.safeParse(merged)
  if (!parsed.success) throw refusal(parsed.error.issues[0], merged, file, overrides)
  const config = parsed.data
  return level === undefined ? config : { ...config, log: { ...config.log, level } }
}

function refusal(
  issue: z.core.$ZodIssue | undefined,
  given: unknown,
  file: string | undefined,
  overrides: ConfigOverrides,
): PurserError {
  const path = (issue?.path ?? []).map(String)
  if (issue?.code === 'unrecognized_keys') {
    const key = [...path, issue.keys[0]].join('.')
    const section = path.length === 0 ? 'at the top' : `in [${path.join('.')}]`
    return new PurserError('invalid_argument', `${file}: there is no key ${key}`, {
      field: key,
      remedy: `known ${section} are ${knownKeys(path).join(', ')}`,
    })
  }
  const key = path.join('.')
  const isOption = (key === 'root' || key === 'state') && overrides[key] !== undefined
  const value = path.reduce<unknown>(
    (at, part) => (typeof at === 'object' && at !== null ? Reflect.get(at, part) : undefined),
    given,
  )
  const shown = SECRET_KEYS.test(key) ? '' : ` = ${JSON.stringify(value)?.slice(0, 100)}`
  const where = isOption ? `--${key}` : `${file}: ${key}`
  return new PurserError('invalid_argument', `${where}${shown}: ${issue?.message ?? 'not valid'}`, {
    field: key,
    remedy: isOption ? 'see purser daemon --help' : 'packaging/purser.toml shows what is expected',
  })
}

/** The keys of a section, as the schema has them. */
function knownKeys(path: readonly string[]): string[] {
  let at: z.core.JSONSchema.BaseSchema = z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' })
  for (const part of path) {
    const next = at.properties?.[part] ?? at.additionalProperties
    at = typeof next === 'object' ? next : {}
  }
  return Object.keys(at.properties ?? {})
}

function parseToml(file: string): Record<string, unknown> {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new PurserError('not_found', `the config file ${file} cannot be read`, {
      cause,
      remedy: 'name another with --config',
    })
  }
  try {
    return parse(text)
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause
    const why = cause.message.split('\n')[0] ?? ''
    throw new PurserError('invalid_argument', `${file}:${cause.line}:${cause.column}: ${why}`, {
      cause,
      remedy: 'mend that line; packaging/purser.toml shows how it is written',
    })
  }
}
