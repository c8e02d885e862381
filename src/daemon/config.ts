import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { parse, TomlError } from 'smol-toml'
import { z } from 'zod'
import { duration } from '../model/duration.ts'
import { PurserError } from '../model/errors.ts'

const runtime = z.strictObject({
  shim: z.string().optional().describe('name on the search path, or absolute path of the shim'),
  binary: z.string().optional().describe('runtime that the runc shim calls: runc, crun, or a path'),
})

const concurrency = (limit: number) => z.int().min(1).max(4096).default(limit)

/** The configuration file. Keys are refused by name when unknown. */
const configSchema = z.strictObject({
  root: z.string().startsWith('/').default('/var/lib/purser').describe('what outlives a reboot'),
  state: z.string().startsWith('/').default('/run/purser').describe('sockets and bundles'),
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
      checkpointUrl: z
        .url({ protocol: /^https?$/ })
        .optional()
        .describe('is sent each signed head, by POST'),
    })
    .prefault({}),
  redis: z
    .strictObject({
      url: z
        .string()
        .regex(/^(redis|rediss|unix):/, 'a Redis URL begins with redis:, rediss: or unix:')
        .optional(),
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
      pull: concurrency(8),
      snapshot: concurrency(32),
      task: concurrency(32),
      gc: concurrency(1),
      saga: concurrency(512).describe('composite commands that are under way at once'),
      layerThreads: z.int().min(1).max(64).optional().describe('threads that unpack layers; the CPUs by default'),
    })
    .prefault({}),
  registry: z
    .strictObject({
      plainHttp: z
        .array(z.string())
        .default([])
        .describe('registries (host:port) spoken to without TLS, besides loopback'),
      dockerConfig: z.string().optional().describe("docker's config.json with credentials"),
    })
    .prefault({}),
  runtime: z.record(z.string(), runtime).default({}).describe('runtimes by name, besides runc and crun'),
})

export type Config = z.output<typeof configSchema>

export interface ConfigOverrides {
  root?: string | undefined
  state?: string | undefined
  level?: 'debug' | undefined
}

/**
 * @param file TOML; defaults without one
 * @throws PurserError invalid_argument, naming file, key and value
 */
export function loadConfig(file: string | undefined, overrides: ConfigOverrides): Config {
  const given = file === undefined ? {} : parseToml(file)
  const parsed = configSchema.safeParse(given)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    const unknown = issue?.code === 'unrecognized_keys' ? issue.keys.join(', ') : undefined
    const at = [...(issue?.path ?? []), ...(unknown === undefined ? [] : [unknown])].join('.')
    const why = unknown === undefined ? (issue?.message ?? 'not valid') : 'there is no such key'
    throw new PurserError('invalid_argument', `${file}: ${at}: ${why}`, {
      field: at,
      remedy: 'see packaging/purser.toml',
    })
  }
  const { root, state, level } = overrides
  const config = parsed.data
  return {
    ...config,
    root: root ?? config.root,
    state: state ?? config.state,
    log: level === undefined ? config.log : { ...config.log, level },
  }
}

function parseToml(file: string): unknown {
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
    const at = cause instanceof TomlError ? `:${cause.line}:${cause.column}` : ''
    throw new PurserError('invalid_argument', `${file}${at} is not TOML`, { cause, remedy: 'mend that line' })
  }
}
