import { isIPv4 } from 'node:net'

/** Docker Hub's API has another name than the one that references use. */
const API_HOSTS: Record<string, string> = { 'docker.io': 'registry-1.docker.io' }

/**
 * Where a registry's API is.
 *
 * @param registry as references have it: `host` or `host:port`
 */
export function apiUrl(registry: string, plainHttp: (registry: string) => boolean): URL {
  return new URL(`${plainHttp(registry) ? 'http' : 'https'}://${API_HOSTS[registry] ?? registry}/v2/`)
}

/** Whether `host[:port]` is this machine itself, by name or address; other names are not looked up. */
export function isLoopback(registry: string): boolean {
  const host = registry.startsWith('[') ? registry.slice(1, registry.indexOf(']')) : registry.replace(/:\d+$/, '')
  return host.toLowerCase() === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'))
}
