import type { ContainerOptions } from './container-options.ts'

/** What containers of a sandbox have in common, and none of them has for itself. */
const SHARED = [
  'network',
  'moreNetworks',
  'ip',
  'ip6',
  'mac',
  'aliases',
  'ports',
  'dns',
  'dnsSearch',
  'extraHosts',
  'hostname',
  'domainname',
  'ipc',
  'uts',
  'shmBytes',
  'userns',
] as const satisfies readonly (keyof ContainerOptions)[]

/** What a container cannot ask for in a sandbox. */
export function sandboxConflict(
  options: ContainerOptions,
  sandbox: string | undefined,
): { field: string; message: string } | undefined {
  if (sandbox === undefined) return undefined
  const field = SHARED.find((each) => options[each] !== undefined)
  return field && { field, message: `${field} is that of sandbox ${sandbox}, which all containers in it share` }
}
