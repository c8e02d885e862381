import { Secret } from '../model/secret.ts'
import type { Connection } from './dispatchers.ts'
import { isLoopback } from './endpoint.ts'
import { readHostDirectory, readPem } from './host-directory.ts'
import { ALL_CAPABILITIES, type Capability, type HostEntry } from './hosts-file.ts'

/** One server that stands for a registry: itself or a mirror. */
export interface RegistryHost {
  /** `host[:port]` */
  name: string
  /** `https-or-http` asks over TLS, and without it where the other side turns out not to speak it. */
  scheme: 'https' | 'http' | 'https-or-http'
  /** What its API is below: `/v2`, or another one, or empty. */
  path: string
  capabilities: ReadonlySet<Capability>
  /** The registry that it stands in for, where it is another one. */
  namespace?: string
  /** Sent to it and to nobody else. */
  headers: Readonly<Record<string, Secret>>
  connection: Connection
}

export interface HostsOptions {
  /** Directories with a directory per registry, as in /etc/containerd/certs.d. */
  roots: readonly string[]
  /** Whether a registry (`host[:port]`) is asked over plain HTTP where nothing else is configured for it. */
  plainHttp: (registry: string) => boolean
}

/** Docker Hub's API has another name than the one that references use. */
const API_HOSTS: Readonly<Record<string, string>> = { 'docker.io': 'registry-1.docker.io' }

/**
 * The hosts of a registry in the order in which they are tried.
 *
 * @param registry as references have it: `host` or `host:port`
 * @throws PurserError failed_precondition when its configuration cannot be read or understood
 * @see containerd, core/remotes/docker/config/hosts.go, `ConfigureHosts`
 */
export async function hostsOf(registry: string, { roots, plainHttp }: HostsOptions): Promise<RegistryHost[]> {
  const found = await readHostDirectory(roots, registry)
  const entries: readonly HostEntry[] = found?.entries ?? [{ capabilities: ALL_CAPABILITIES, headers: {} }]
  return await Promise.all(entries.map((entry) => hostOf(entry, registry, plainHttp)))
}

async function hostOf(entry: HostEntry, registry: string, plainHttp: (name: string) => boolean): Promise<RegistryHost> {
  const own = API_HOSTS[registry] ?? registry
  const { location } = entry
  const name = location?.host ?? own
  // As containerd has it: the registry itself, when only its directory is there, can do everything.
  const isItself = location === undefined
  const isLocal = isItself && isLoopback(registry) && !plainHttp(registry)
  const skipVerify = isLocal && portOf(registry) !== '80' ? true : entry.skipVerify
  const hasTls = entry.caFiles !== undefined || entry.clientFiles !== undefined || skipVerify !== undefined
  const ca = await Promise.all((entry.caFiles ?? []).map(readPem))
  const clients = await Promise.all(
    (entry.clientFiles ?? []).map(async ({ cert, key }) => ({ cert: await readPem(cert), key: await readPem(key) })),
  )
  return {
    name,
    scheme: schemeOf(),
    path: location?.path ?? '/v2',
    capabilities: isItself ? ALL_CAPABILITIES : entry.capabilities,
    ...(name === own || name === registry ? {} : { namespace: registry }),
    headers: secretHeaders(entry.headers),
    connection: {
      ca,
      clients,
      verify: skipVerify !== true,
      ...(entry.dialTimeoutMs === undefined ? {} : { dialTimeoutMs: entry.dialTimeoutMs }),
      ...(entry.proxy === undefined ? {} : { proxy: entry.proxy.href }),
    },
  }

  function schemeOf(): RegistryHost['scheme'] {
    if (isItself && !isLocal) return plainHttp(registry) ? 'http' : 'https'
    const port = portOf(name)
    const isPlain = isItself ? port !== '' && port !== '443' : location?.scheme === 'http'
    if (!isPlain) return 'https'
    // An http URL with something said about TLS: containerd takes it for "TLS, if it can be had".
    return hasTls && port !== '80' ? 'https-or-http' : 'http'
  }
}

const portOf = (host: string): string => /:(\d+)$/.exec(host)?.[1] ?? ''

function secretHeaders(headers: HostEntry['headers']): RegistryHost['headers'] {
  return Object.fromEntries(Object.entries(headers).map(([name, values]) => [name, new Secret(values.join(', '))]))
}
