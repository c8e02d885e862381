import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { network } from '../../../commands/network.ts'
import { task } from '../../../commands/task.ts'
import type { Fact } from '../../../model/aggregate.ts'
import { PurserError } from '../../../model/errors.ts'
import { prepareBridge } from '../../../network/bridge.ts'
import type { Conflist } from '../../../network/conflist.ts'
import { nameFiles } from '../../../network/name-files.ts'
import { hostnameOf } from '../../../oci/spec/build-spec.ts'
import type { ContainerOptions } from '../../../oci/spec/container-options.ts'
import { networkMode, networksOf } from '../../../oci/spec/network-mode.ts'
import type { NetworkOptions } from '../../../oci/spec/network-options.ts'
import type { Mount } from '../../../oci/spec/schema.ts'
import type { Job } from '../../../queue/handler.ts'
import type { TaskEffects } from '../effects.ts'
import { pidOfOther } from '../other-container.ts'

export type TaskJob = Job<unknown, unknown, TaskEffects>

/** What a container's spec says of its network. */
export interface Connection {
  /** A namespace to join. */
  namespace?: string
  /** Whether it is one of ours, mounted just now. */
  isPinned: boolean
  files: Mount[]
}

const NAME_FILES = ['hosts', 'resolv.conf', 'hostname'] as const

/** Of a container that is in no network, there are none. */
export function intentFacts(id: string, options: ContainerOptions): Fact[] {
  const networks = networksOf(options)
  return networks.length === 0 ? [] : [task.fact(id, 'task.network-attaching', { networks })]
}

export function attachedFacts({ namespace, id, effects }: TaskJob): Fact[] {
  const attached = effects.networks.attached({ namespace, id })
  return attached ? [task.fact(id, 'task.network-attached', attached)] : []
}

/** Takes a container into the networks that its options name, and makes the files that go with them. */
export async function connect(job: TaskJob, options: ContainerOptions): Promise<Connection> {
  const mode = networkMode(options.network)
  switch (mode?.kind) {
    case 'named':
      return await attach(job, options)
    case 'container':
      return joinContainer(job, mode.id)
    case 'host':
      return { isPinned: false, files: asksForNames(options) ? writeNameFiles(job, options) : filesOfHost() }
    default:
      return { isPinned: false, files: asksForNames(options) ? writeNameFiles(job, options) : [] }
  }
}

export const asksForNames = ({ dns, dnsSearch, extraHosts }: NetworkOptions): boolean =>
  (dns ?? dnsSearch ?? extraHosts) !== undefined

async function attach(job: TaskJob, options: ContainerOptions): Promise<Connection> {
  const { namespace, id, effects } = job
  await attachAs(job, id, options)
  return {
    namespace: effects.networks.netnsOf({ namespace, id }),
    isPinned: true,
    files: writeNameFiles(job, options),
  }
}

/** @param owner of the network namespace, as networks know it */
export async function attachAs(job: TaskJob, owner: string, options: NetworkOptions): Promise<void> {
  const { namespace, effects, signal } = job
  const networks: { name: string; list: Conflist }[] = []
  for (const name of networksOf(options)) {
    networks.push({ name, list: await conflistOf(job, name, networks.length === 0) })
  }
  const { ports = [], ip, ip6, mac } = options
  const ips = [ip, ip6].filter((each) => each !== undefined)
  await effects.networks.attach({ namespace, id: owner, networks, ports, ips, mac }, signal)
}

/** How a network is laid out, for a container that comes into it now. @throws PurserError not_found when there is none of that name */
export async function conflistOf(job: TaskJob, name: string, isDefaultRoute: boolean): Promise<Conflist> {
  const { namespace, view, effects } = job
  const state = view.get(network, namespace, name)
  if (state.status === 'present') {
    if (state.subnet6 !== undefined) await prepareBridge(state.bridge, job.signal)
    return effects.networks.bridge({ ...state, namespace, name, isDefaultRoute })
  }
  if (state.status === 'absent') return await effects.networks.conflist(name)
  throw new PurserError('failed_precondition', `network ${name} is being removed`, { remedy: 'choose another network' })
}

/** That of another container's process, with the files that go with it. */
function joinContainer({ namespace, view, effects }: TaskJob, other: string): Connection {
  const pid = pidOfOther(view, namespace, other, 'network')
  const files = nameFilesIn(effects.paths.container(namespace, other))
  return { namespace: `/proc/${pid}/ns/net`, isPinned: false, files }
}

function writeNameFiles({ namespace, id, effects }: TaskJob, options: ContainerOptions): Mount[] {
  const dir = effects.paths.container(namespace, id)
  const owner = { namespace, id }
  writeNames(effects, { dir, owner, hostname: hostnameOf(options, id), options })
  return nameFilesIn(dir)
}

/** @param request.owner of the network namespace, as networks know it */
export function writeNames(
  { networks }: Pick<TaskEffects, 'networks'>,
  request: { dir: string; owner: { namespace: string; id: string }; hostname: string; options: NetworkOptions },
): void {
  const { dir, owner, hostname, options } = request
  const { interfaces = [] } = networks.attached(owner) ?? {}
  const dns = networks.dnsOf(owner)
  const gateway = interfaces.find((each) => each.gateway !== undefined)?.gateway
  if (gateway === undefined && options.extraHosts?.some(({ address }) => address === 'host-gateway')) {
    throw new PurserError('failed_precondition', 'host-gateway is asked for, and it is in no network with one', {
      remedy: 'name a network, or write an address',
      field: 'extraHosts',
    })
  }
  const texts = nameFiles({
    hostname,
    addresses: interfaces.flatMap(({ addresses }) => addresses.map((address) => address.split('/')[0] ?? '')),
    gateway,
    extraHosts: options.extraHosts ?? [],
    nameservers: options.dns ?? dns.nameservers,
    search: options.dnsSearch ?? dns.search,
  })
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  for (const name of NAME_FILES) writeFileSync(join(dir, name), texts[name], { mode: 0o644 })
}

/** Those that there are, for whoever has the network that they are of. */
export const nameFilesIn = (dir: string): Mount[] =>
  NAME_FILES.map((name) => ({ name, source: join(dir, name) }))
    .filter(({ source }) => existsSync(source))
    .map(({ name, source }) => bind(name, source, 'rw'))

/** What a container on the host's network needs to resolve names as the host does. */
export const filesOfHost = (): Mount[] =>
  ['resolv.conf', 'hosts'].filter((name) => existsSync(`/etc/${name}`)).map((name) => bind(name, `/etc/${name}`, 'ro'))

const bind = (name: string, source: string, access: 'ro' | 'rw'): Mount => ({
  destination: `/etc/${name}`,
  type: 'bind',
  source,
  options: ['rbind', 'rprivate', access],
})
