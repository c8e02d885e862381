import type { Logger } from 'pino'
import { RegistryClient } from '../registry/client.ts'
import { type CredentialsSource, firstOf } from '../registry/credentials.ts'
import type { ProxyEnvironment } from '../registry/dispatchers.ts'
import { dockerCredentials } from '../registry/docker-config.ts'
import { kubeletCredentials } from '../registry/kubelet-providers.ts'
import type { Tracer } from '../tracing/tracer.ts'
import type { Config } from './config.ts'

/** The client of all registries, as the configuration and the environment have it. */
export function openRegistry(
  config: Config['registry'],
  { version, tracer, logger }: { version: string; tracer: Tracer; logger: Logger },
): RegistryClient {
  const plain = new Set(config.plainHttp)
  return new RegistryClient({
    credentials: credentialsFrom(config),
    configPaths: config.configPath.split(':').filter((path) => path !== ''),
    fallback: config.fallback,
    timeouts: { headersMs: config.timeout, bodyStallMs: config.timeout },
    plainHttp: (name) => plain.has(name),
    proxies: proxyEnvironment(process.env),
    userAgent: `purser/${version}`,
    tracer,
    logger,
  })
}

/** Plugins for the images that they are for, then what docker login left. */
function credentialsFrom({ dockerConfig, credentialProviders }: Config['registry']): CredentialsSource {
  const docker = dockerCredentials(dockerConfig === undefined ? {} : { file: dockerConfig })
  return credentialProviders === undefined ? docker : firstOf(kubeletCredentials(credentialProviders), docker)
}

/** As curl, Go and so containerd read it; undefined when there is no proxy. */
function proxyEnvironment(env: NodeJS.ProcessEnv): ProxyEnvironment | undefined {
  const of = (name: string) => env[name] || env[name.toLowerCase()] || ''
  const [http, https] = [of('HTTP_PROXY'), of('HTTPS_PROXY')]
  // This machine's own registries need none, as in Go.
  const none = [of('NO_PROXY'), 'localhost', '127.0.0.1', '::1'].filter((names) => names !== '').join(',')
  return http === '' && https === '' ? undefined : { http, https, none }
}
