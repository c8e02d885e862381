import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { readdir, readFile, rm } from 'node:fs/promises'
import { isIP } from 'node:net'
import { dirname, join } from 'node:path'
import type { Logger } from 'pino'
import { z } from 'zod'
import { PurserError } from '../model/errors.ts'
import { type MappedPort, mappedPort, type PublishedPort } from '../oci/spec/published-port.ts'
import { type BridgeSettings, bridgeConflist, bridgeName } from './bridge.ts'
import {
  type Attachment,
  addTo,
  attachmentSchema,
  check,
  deleteFrom,
  type RuntimeConfig,
  requireCapabilities,
  type Sandbox,
} from './cni.ts'
import { type Conflist, findConflist } from './conflist.ts'
import { type Interface, interfacesOf } from './interfaces.ts'
import { leasesIn } from './leases.ts'
import { addStandIn, isPinned, pinNamespace, pinnedIn, unpinNamespace } from './netns.ts'
import { containerIdOf, describeOwner, type Holders, holds, keyOf, type Named, partsOf } from './owners.ts'
import { requirePlugins } from './plugin.ts'
import { PortChooser, type TakenPort } from './ports.ts'

export interface NetworksOptions {
  root: string
  state: string
  confDir: string
  pluginDirs: readonly string[]
  timeoutMs: number
  logger: Logger
}

export interface AttachRequest {
  namespace: string
  id: string
  /** By the names that the user gave them; the first is eth0. */
  networks: readonly { name: string; list: Conflist }[]
  ports: readonly PublishedPort[]
  /** Of the first network. */
  ips: readonly string[]
  mac?: string | undefined
}

/** What a container has, as the log tells it. */
export interface Attached {
  interfaces: Interface[]
  ports: MappedPort[]
}

/** What a container has of networks: kept on disk from before the first plugin runs until the last has taken it away. */
const recordSchema = z.strictObject({
  namespace: z.string(),
  id: z.string(),
  netns: z.string(),
  ports: z.array(mappedPort),
  attachments: z.array(attachmentSchema),
})
type NetworkRecord = z.output<typeof recordSchema>

const attachedOf = ({ attachments, ports }: NetworkRecord): Attached => ({
  interfaces: interfacesOf(attachments),
  ports: [...ports],
})

/** No network has this name. */
const ALLOCATION = ' allocation'

/** No network has this name either. */
const turnOf = (container: Named): string => ` ${keyOf(container)}`

const STAND_IN_MS = 30_000

/** What is there for containers that hold none. */
export interface Remains {
  containers: Named[]
  /** Paths, as those of the files that keep addresses. */
  namespaces: string[]
  leases: string[]
}

/** Takes containers into networks and out of them, through CNI. */
export class Networks {
  readonly #options: NetworksOptions
  readonly #records = new Map<string, NetworkRecord>()
  /** The last that is done in each network, and to each container: plugins are not made for two at a time. */
  readonly #turns = new Map<string, Promise<unknown>>()

  readonly #ports = new PortChooser()

  private constructor(options: NetworksOptions) {
    this.#options = options
  }

  /** With what an earlier daemon has left on disk. */
  static async open(options: NetworksOptions): Promise<Networks> {
    const networks = new Networks(options)
    const dir = join(options.root, 'networks')
    for (const namespace of await readdir(dir).catch(() => [])) {
      for (const name of await readdir(join(dir, namespace))) {
        const file = join(dir, namespace, name)
        const record = name.endsWith('.json') ? parsed(await readFile(file, 'utf8')) : undefined
        if (record) networks.#records.set(keyOf(record), record)
        else await rm(file, { force: true }) // Not whole: nothing was done before it was.
      }
    }
    return networks
  }

  /** @throws PurserError not_found when no file of the directory is of that network */
  async conflist(name: string): Promise<Conflist> {
    const found = await findConflist(this.#options.confDir, name)
    if (found) return found
    throw new PurserError('not_found', `network ${name} is neither one of purser's nor in ${this.#options.confDir}`, {
      remedy: `purser network create ${name}`,
    })
  }

  /** The configuration of a network of ours. */
  bridge(settings: BridgeSettings): Conflist {
    return bridgeConflist(settings, this.#ipamDir, this.#options.pluginDirs)
  }

  bridgeName(namespace: string, name: string): string {
    return bridgeName(this.#options.state, namespace, name)
  }

  /** Does what chooses a subnet, one after the other. */
  allocate(work: () => Promise<void>): Promise<void> {
    return this.#inTurn(ALLOCATION, work)
  }

  netnsOf(container: Named): string {
    return join(this.#options.state, 'netns', containerIdOf(container))
  }

  /** What a container has; undefined when it is in no network, or not wholly. */
  attached(container: Named): Attached | undefined {
    const record = this.#records.get(keyOf(container))
    return record?.attachments.every(({ isWhole }) => isWhole) ? attachedOf(record) : undefined
  }

  /** What the networks say of name servers. */
  dnsOf(container: Named): { nameservers: string[]; search: string[] } {
    const all = (this.#records.get(keyOf(container))?.attachments ?? []).flatMap(({ result }) =>
      result ? [result.dns] : [],
    )
    return {
      nameservers: all.flatMap(({ nameservers = [] }) => nameservers),
      search: all.flatMap(({ search = [] }) => search),
    }
  }

  /**
   * Makes a network namespace and an interface of each network in it.
   *
   * @throws PurserError of what failed; nothing of it is left then
   */
  attach(request: AttachRequest, signal: AbortSignal): Promise<Attached> {
    return this.#inTurn(turnOf(request), () => this.#attach(request, signal))
  }

  async #attach(request: AttachRequest, signal: AbortSignal): Promise<Attached> {
    const { namespace, id, networks } = request
    await requirePlugins(networks, this.#options.pluginDirs)
    await this.#detach({ namespace, id }) // What an earlier attempt, or one that failed to end, has left.
    const ports = this.#ports.choose(request.ports, this.#published())
    const asked = askedOf(request, ports)
    for (const { name, list, runtimeConfig } of asked) requireCapabilities(name, list, runtimeConfig)
    const record: NetworkRecord = { namespace, id, netns: this.netnsOf(request), ports, attachments: [] }
    try {
      this.#write(record)
      await pinNamespace(record.netns, signal)
      for (const each of asked) await this.#add(record, each, signal)
      requireFamilies(record)
      return attachedOf(record)
    } catch (error) {
      await this.#detach(request)
      throw error
    }
  }

  async #add(record: NetworkRecord, { name, list, runtimeConfig }: Asked, signal: AbortSignal): Promise<void> {
    const ifName = freeInterface(record)
    const attachment: Attachment = { network: name, ifName, list, runtimeConfig, isWhole: false }
    record.attachments.push(attachment)
    this.#write(record) // Before the plugins run: whoever comes after knows what to take away.
    const sandbox = { containerId: containerIdOf(record), netns: record.netns }
    await this.#inTurn(list.name, () => addTo(attachment, sandbox, this.#search, signal, () => this.#write(record)))
  }

  /**
   * Makes an interface of one more network in a container that is in some; fine when it has one already.
   *
   * @returns all that it has then
   * @throws PurserError of what failed; nothing of it is left then
   */
  join(container: Named, network: { name: string; list: Conflist }, signal: AbortSignal): Promise<Attached> {
    return this.#inTurn(turnOf(container), async () => {
      const record = this.#require(container)
      const known = record.attachments.find((each) => each.network === network.name)
      if (!known?.isWhole) {
        await requirePlugins([network], this.#options.pluginDirs)
        if (known) await this.#takeOut(record, known)
        try {
          await this.#add(record, { ...network, runtimeConfig: {} }, signal)
        } catch (error) {
          const begun = record.attachments.find((each) => each.network === network.name)
          if (begun) await this.#takeOut(record, begun)
          throw error
        }
      }
      return attachedOf(record)
    })
  }

  /**
   * Takes a container out of one of its networks; fine when it is in it no more.
   *
   * @returns what it has left
   * @throws PurserError of the first plugin that could not do it
   */
  leave(container: Named, network: string): Promise<Attached> {
    return this.#inTurn(turnOf(container), async () => {
      const record = this.#require(container)
      const known = record.attachments.find((each) => each.network === network)
      if (known) await this.#takeOut(record, known)
      return attachedOf(record)
    })
  }

  async #takeOut(record: NetworkRecord, attachment: Attachment): Promise<void> {
    const sandbox = { containerId: containerIdOf(record), netns: record.netns }
    const [failure] = await this.#delete(attachment, sandbox)
    if (failure !== undefined) throw failure
    record.attachments = record.attachments.filter((each) => each !== attachment)
    if (attachment.runtimeConfig.portMappings) record.ports = []
    this.#write(record)
  }

  /** DEL, bounded by the time that each plugin may take: what was begun is brought to its end. @returns what failed */
  #delete(attachment: Attachment, sandbox: Sandbox): Promise<unknown[]> {
    return this.#inTurn(attachment.list.name, () =>
      deleteFrom(attachment, sandbox, this.#search, new AbortController().signal),
    )
  }

  #require(container: Named): NetworkRecord {
    const record = this.#records.get(keyOf(container))
    if (record) return record
    throw new PurserError('failed_precondition', `container ${container.id} is in no network`, {
      remedy: `purser inspect ${container.id} shows whether it runs`,
    })
  }

  /**
   * The first of its networks that is not in order any more, and what a plugin says; undefined when all are, or it has none. A
   * plugin for which it never was in order is passed over: it cannot tell.
   */
  faultOf(container: Named, signal: AbortSignal): Promise<{ network: string; error: string } | undefined> {
    return this.#inTurn(turnOf(container), async () => {
      const record = this.#records.get(keyOf(container))
      if (!record) return undefined
      const sandbox = { containerId: containerIdOf(record), netns: record.netns }
      for (const attachment of record.attachments) {
        const { network, list, inOrderFor = [] } = attachment
        const failures = await this.#inTurn(list.name, () => check(attachment, sandbox, this.#search, signal))
        const broken = inOrderFor.find((type) => failures.has(type))
        if (broken !== undefined) return { network, error: failures.get(broken)?.message ?? broken }
        const sound = list.plugins.map(({ type }) => type).filter((type) => !failures.has(type))
        if (sound.length === inOrderFor.length) continue
        attachment.inOrderFor = sound
        this.#write(record)
      }
      return undefined
    })
  }

  /**
   * Takes a container out of its networks and lets go of its namespace, however much of that is left. What a plugin could
   * not do is logged, and tried again when the daemon starts, or the container does.
   */
  detach(container: Named): Promise<void> {
    return this.#inTurn(turnOf(container), () => this.#detach(container))
  }

  async #detach(container: Named): Promise<void> {
    const record = this.#records.get(keyOf(container))
    if (!record) return
    const { logger } = this.#options
    const isStandIn = await this.#standIn(record)
    const containerId = containerIdOf(record)
    const sandboxes = [{ containerId, netns: isPinned(record.netns) ? record.netns : '' }]
    // Some find in a stand-in what they cannot deal with: that their rules are gone too.
    if (isStandIn) sandboxes.push({ containerId, netns: '' })
    let isWhole = true
    for (const attachment of record.attachments.toReversed()) {
      let failures: unknown[] = []
      for (const [at, sandbox] of sandboxes.entries()) {
        if (at > 0 && failures.length === 0) break
        failures = await this.#delete(attachment, sandbox)
      }
      for (const err of failures) {
        isWhole = false
        const { network } = attachment
        logger.error({ err, ...container, network }, 'a container could not be taken out of a network')
      }
    }
    // The record before the namespace: one without a record is removed at the next start, and needs no plugin.
    if (isWhole) {
      await rm(this.#fileOf(record), { force: true })
      this.#records.delete(keyOf(record))
    } else record.ports = []
    await unpinNamespace(record.netns)
  }

  /**
   * Where the namespace is gone and plugins have done something, makes one with interfaces that have the same addresses: it is
   * by these that plugins find their rules. Without, they are asked all the same, and do what they can.
   *
   * @returns whether there is such a stand-in now
   */
  async #standIn({ netns, attachments }: NetworkRecord): Promise<boolean> {
    if (isPinned(netns) || !attachments.some(({ result }) => result !== undefined)) return false
    const { logger } = this.#options
    const signal = AbortSignal.timeout(STAND_IN_MS)
    try {
      await unpinNamespace(netns) // The file of the one that is gone.
      await pinNamespace(netns, signal)
      for (const { name, addresses } of interfacesOf(attachments)) await addStandIn(netns, name, addresses, signal)
      return true
    } catch (err) {
      logger.warn({ err, netns }, 'a network namespace that is gone has no stand-in: rules of it may stay')
      return false
    }
  }

  /** What there is on the host for containers that hold none: attachments, namespaces, addresses. */
  async remains(holders: Holders): Promise<Remains> {
    const { state } = this.#options
    const records = [...this.#records.values()]
    const leases = await leasesIn(this.#ipamDir)
    return {
      containers: records.filter(({ namespace, id }) => !holds(holders, namespace, id)),
      namespaces: (await pinnedIn(join(state, 'netns'))).filter((path) => !this.#isOfRecord(path)),
      leases: leases.flatMap(({ file, containerId }) => (holds(holders, ...partsOf(containerId)) ? [] : [file])),
    }
  }

  /**
   * Takes out of their networks all containers that hold none, removes namespaces that are nobody's, and gives addresses back
   * that no plugin has.
   *
   * @returns how many of these there were
   */
  async reconcile(holders: Holders): Promise<number> {
    const { containers, namespaces } = await this.remains(holders)
    let removed = 0
    for (const container of containers) {
      await this.detach(container)
      if (!this.#records.has(keyOf(container))) removed += 1
    }
    for (const path of namespaces) {
      if (this.#isOfRecord(path)) continue // Since.
      await unpinNamespace(path)
      removed += 1
    }
    // Those that are left now: their plugin is not there any more, or was killed while it gave them back.
    for (const file of (await this.remains(holders)).leases) {
      await rm(file, { force: true })
      removed += 1
    }
    return removed
  }

  #isOfRecord(path: string): boolean {
    return [...this.#records.values()].some(({ netns }) => netns === path)
  }

  /** Where host-local keeps which address of a network of ours is whose. */
  get #ipamDir(): string {
    return join(this.#options.state, 'ipam')
  }

  get #search() {
    return { dirs: this.#options.pluginDirs, timeoutMs: this.#options.timeoutMs }
  }

  async #inTurn<T>(network: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(network)
    const mine = (before ?? Promise.resolve()).then(work, work)
    const settled = mine.catch(() => {})
    this.#turns.set(network, settled)
    try {
      return await mine
    } finally {
      if (this.#turns.get(network) === settled) this.#turns.delete(network)
    }
  }

  /** Plugins would lead one port to two containers, and past a program that waits on it. */
  #published(): TakenPort[] {
    return [...this.#records.values()].flatMap(({ id, ports }) =>
      ports.map(({ hostIp, hostPort, protocol }) => ({
        address: hostIp,
        port: hostPort,
        protocol,
        by: () => `published by ${describeOwner(id)}`,
      })),
    )
  }

  #fileOf({ namespace, id }: NetworkRecord): string {
    return join(this.#options.root, 'networks', namespace, `${id}.json`)
  }

  #write(record: NetworkRecord): void {
    const file = this.#fileOf(record)
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    writeFileSync(`${file}.new`, JSON.stringify(record), { mode: 0o600 })
    renameSync(`${file}.new`, file)
    this.#records.set(keyOf(record), record)
  }
}

function parsed(text: string): NetworkRecord | undefined {
  try {
    return recordSchema.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}

/** The plugin passes over a port of an address whose family the container has none of. */
function requireFamilies({ attachments, ports }: NetworkRecord): void {
  const publisher = attachments.find(({ runtimeConfig }) => runtimeConfig.portMappings)
  const addresses = (publisher?.result?.ips ?? []).map(({ address }) => isIP(address.split('/')[0] ?? ''))
  for (const { hostIp, hostPort } of ports) {
    if (hostIp === undefined || addresses.includes(isIP(hostIp))) continue
    throw new PurserError(
      'failed_precondition',
      `port ${hostPort} of ${hostIp} cannot lead to the container: in network ${publisher?.network} it has no address of IPv${isIP(hostIp)}`,
      { remedy: 'publish it on an address of the other family, or name a network of both', field: 'ports' },
    )
  }
}

/** The first `ethN` that a container has not. */
function freeInterface({ attachments }: NetworkRecord): string {
  let at = 0
  while (attachments.some(({ ifName }) => ifName === `eth${at}`)) at += 1
  return `eth${at}`
}

interface Asked {
  name: string
  list: Conflist
  runtimeConfig: RuntimeConfig
}

/** Ports are published by one network: the first that can, or else the first, which is refused then. */
function askedOf({ networks, ips, mac }: AttachRequest, ports: readonly MappedPort[]): Asked[] {
  const publishes = ({ list }: { list: Conflist }) =>
    list.plugins.some(({ capabilities }) => capabilities?.portMappings)
  const publisher = Math.max(0, networks.findIndex(publishes))
  const portMappings = ports.map(({ hostIp, hostPort, containerPort, protocol }) => ({
    hostPort,
    containerPort,
    protocol,
    ...(hostIp === undefined ? {} : { hostIP: hostIp }),
  }))
  return networks.map(({ name, list }, at) => {
    const runtimeConfig: RuntimeConfig = {
      ...(ports.length > 0 && at === publisher ? { portMappings } : {}),
      ...(ips.length === 0 || at > 0 ? {} : { ips: [...ips] }),
      ...(mac === undefined || at > 0 ? {} : { mac }),
    }
    return { name, list, runtimeConfig }
  })
}
