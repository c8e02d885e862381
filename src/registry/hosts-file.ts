import { isAbsolute, join } from 'node:path'
import { parse, TomlError } from 'smol-toml'
import { z } from 'zod'
import { durationMs } from '../model/duration-form.ts'
import { PurserError } from '../model/errors.ts'

/** What a host is asked for: documents and blobs by digest, names, and to take something. */
export type Capability = 'pull' | 'resolve' | 'push'

export const ALL_CAPABILITIES: ReadonlySet<Capability> = new Set(['pull', 'resolve', 'push'])

/** A file with a certificate, and one with its key: the same one where they stand together. */
export interface ClientFiles {
  cert: string
  key: string
}

/** One host of a `hosts.toml`; paths are absolute. */
export interface HostEntry {
  /** Where it is; undefined for the registry itself. */
  location?: { scheme: 'http' | 'https'; host: string; path: string }
  capabilities: ReadonlySet<Capability>
  caFiles?: readonly string[]
  clientFiles?: readonly ClientFiles[]
  skipVerify?: boolean
  headers: Readonly<Record<string, string[]>>
  dialTimeoutMs?: number
  proxy?: URL
}

const oneOrMore = z.union(
  [z.string().transform((path) => [path]), z.array(z.string())],
  'write a file, or a list of files',
)
const capability = z
  .string()
  .transform((word) => word.toLowerCase())
  .pipe(z.enum(['pull', 'resolve', 'push']))
const dialTimeout = z.string().transform((text, context) => {
  if (text === '') return undefined
  const ms = durationMs(text)
  if (ms !== undefined && ms > 0) return ms
  context.addIssue({ code: 'custom', message: 'write a duration such as 500ms, 3s or 1m30s' })
  return z.NEVER
})
const proxy = z
  .url({ protocol: /^https?$/, error: 'a proxy is http://HOST:PORT or https://HOST:PORT' })
  .transform((text) => new URL(text))
// RFC 9110 section 5.1 and 5.5: what would end the header would begin another.
const headerName = z.string().regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/, 'not the name of a header')
const headerValue = z.string().regex(/^[\t\x20-\x7e\x80-\xff]*$/, 'not the value of a header')

const hostTable = z.object({
  capabilities: z.array(capability).default([]),
  ca: oneOrMore.optional(),
  client: z
    .union(
      [
        z.string().transform((path): [string, string][] => [[path, '']]),
        z.array(
          z.union([
            z.string().transform((path): [string, string] => [path, '']),
            z.tuple([z.string(), z.string()], 'a pair is a certificate and its key'),
          ]),
        ),
      ],
      'write a file, a list of files, or a list of pairs of files: certificate and key',
    )
    .optional(),
  skip_verify: z.boolean().optional(),
  header: z
    .record(
      headerName,
      z.union([headerValue.transform((value) => [value]), z.array(headerValue)], 'not the value of a header'),
    )
    .default({}),
  override_path: z.boolean().default(false),
  dial_timeout: dialTimeout.optional(),
  proxy: proxy.optional(),
})

/** Keys that are not known are passed over, as containerd does. */
const hostsFile = hostTable.extend({
  server: z.string().default(''),
  host: z.record(z.string(), hostTable).default({}),
})

/**
 * The hosts of a `hosts.toml` in the order in which they are tried: its `host` tables, then the root of the file.
 *
 * @param dir what paths in it are relative to
 * @throws PurserError failed_precondition, naming the file and the field
 * @see containerd, docs/hosts.md; core/remotes/docker/config/hosts.go
 */
export function parseHostsFile(text: string, file: string, dir: string): HostEntry[] {
  const { server, host, ...root } = checked(parsedToml(text, file), file)
  const mirrors = Object.entries(host).map(([url, table]) => entryOf(url, table, file, dir))
  return [...mirrors, entryOf(server, root, file, dir)]
}

function parsedToml(text: string, file: string): unknown {
  try {
    return parse(text)
  } catch (cause) {
    if (!(cause instanceof TomlError)) throw cause
    throw refused(file, `line ${cause.line}, column ${cause.column}: ${cause.message.split('\n')[0] ?? ''}`)
  }
}

function checked(document: unknown, file: string): z.output<typeof hostsFile> {
  const { success, data, error } = hostsFile.safeParse(document)
  if (success) return data
  const issue = error.issues[0]
  // Without the value: headers hold secrets.
  throw refused(file, `${issue?.path.map(String).join('.')}: ${issue?.message}`)
}

function entryOf(url: string, table: z.output<typeof hostTable>, file: string, dir: string): HostEntry {
  const { capabilities, ca, client, skip_verify, header, override_path, dial_timeout } = table
  const absolute = (path: string) => (isAbsolute(path) ? path : join(dir, path))
  return {
    ...(url === '' ? {} : { location: locationOf(url, override_path, file) }),
    capabilities: capabilities.length === 0 ? ALL_CAPABILITIES : new Set(capabilities),
    ...(ca === undefined ? {} : { caFiles: ca.map(absolute) }),
    ...(client === undefined
      ? {}
      : {
          clientFiles: client.map(([cert, key]) => ({ cert: absolute(cert), key: absolute(key === '' ? cert : key) })),
        }),
    ...(skip_verify === undefined ? {} : { skipVerify: skip_verify }),
    headers: header,
    ...(dial_timeout === undefined ? {} : { dialTimeoutMs: dial_timeout }),
    ...(table.proxy === undefined ? {} : { proxy: table.proxy }),
  }
}

function locationOf(text: string, overridePath: boolean, file: string): NonNullable<HostEntry['location']> {
  const full = /^https?:\/\//.test(text) ? text : `https://${text}`
  const url = URL.parse(full)
  // Not URL.host, which leaves out a port that says something: that of plain HTTP.
  const host = /^https?:\/\/([^/?#@]+)(?:\/[^?#]*)?$/.exec(full)?.[1]
  if (!url || host === undefined) {
    throw refused(file, `${JSON.stringify(text.replace(/^.*@/, '…@'))} is not https://HOST[:PORT][/PATH]`)
  }
  const path = url.pathname.replace(/\/+$/, '')
  return {
    scheme: url.protocol === 'http:' ? 'http' : 'https',
    host: host.toLowerCase(),
    path: overridePath || path.endsWith('/v2') ? path : `${path}/v2`,
  }
}

export function refused(file: string, why: string): PurserError {
  return new PurserError('failed_precondition', `${file} cannot be used: ${why}`, {
    remedy: "correct it; its form is that of containerd's docs/hosts.md",
  })
}
