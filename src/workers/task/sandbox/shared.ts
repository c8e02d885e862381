import { join } from 'node:path'
import type { PresentSandbox, SandboxRecord } from '../../../commands/sandbox-record.ts'
import { pinShared, type SharedKind, unpinNamespace } from '../../../network/netns.ts'
import type { Attached } from '../../../network/networks.ts'
import { ofSandbox } from '../../../network/owners.ts'
import type { Job } from '../../../queue/handler.ts'
import type { TaskEffects } from '../effects.ts'
import { DEFAULT_SHM_BYTES, shmMount } from '../isolation.ts'
import { removeBundle } from '../live-task.ts'
import { asksForNames, attachAs, writeNames } from '../network/connect.ts'
import { mountForTask } from '../task-mounts.ts'

const KINDS: readonly SharedKind[] = ['ipc', 'uts']

/** Where a namespace of a sandbox is pinned. */
export const pinOf = (bundle: string, kind: SharedKind): string => join(bundle, 'namespaces', kind)

/** Its hosts, resolv.conf and hostname. */
export const namesOf = (bundle: string): string => join(bundle, 'names')

/** The name of the machine that its containers see. */
export const hostnameOfSandbox = ({ hostname }: Pick<SandboxRecord, 'hostname'>, id: string): string =>
  hostname ?? id.slice(0, 63)

export const hasHostNetwork = ({ network }: Pick<SandboxRecord, 'network'>): boolean => network === 'host'

/** Which namespaces it pins itself: with the network of the host it has the name of the host too. */
export function pinnedKinds(record: Pick<SandboxRecord, 'sandboxer' | 'network' | 'ipc'>): SharedKind[] {
  const isHosts = { ipc: record.ipc === 'host', uts: hasHostNetwork(record) }
  return record.sandboxer === 'shim' ? [] : KINDS.filter((kind) => !isHosts[kind])
}

/** Makes what containers of a sandbox share on the host. The bundle is there; what fails leaves the rest to {@link unshare}. */
export async function share(
  job: Job<unknown, unknown, TaskEffects>,
  bundle: string,
  { made }: Pick<PresentSandbox, 'made'>,
): Promise<void> {
  const { namespace, id, effects, signal } = job
  const owner = { namespace, id: ofSandbox(id) }
  if (!hasHostNetwork(made)) await attachAs(job, owner.id, made)
  if (!hasHostNetwork(made) || asksForNames(made)) {
    const hostname = hostnameOfSandbox(made, id)
    writeNames(effects, { dir: namesOf(bundle), owner, hostname, options: made })
  }
  const kinds = pinnedKinds(made)
  await pinShared(new Map(kinds.map((kind) => [kind, pinOf(bundle, kind)])), signal)
  if (kinds.includes('ipc')) {
    await mountForTask(bundle, [shmMount(made.shmBytes ?? DEFAULT_SHM_BYTES)], signal)
  }
}

/** The interfaces of a sandbox, where it has some besides loopback, and the ports that lead to it. */
export function connectionOf({ namespace, id, effects }: Job<unknown, unknown, TaskEffects>): { attached?: Attached } {
  const attached = effects.networks.attached({ namespace, id: ofSandbox(id) })
  return attached === undefined || attached.interfaces.length === 0 ? {} : { attached }
}

/** Takes it all away, however much of it there is, and the bundle with it. */
export async function unshare(
  { networks }: Pick<TaskEffects, 'networks'>,
  { namespace, id, bundle }: { namespace: string; id: string; bundle: string },
): Promise<void> {
  await networks.detach({ namespace, id: ofSandbox(id) })
  for (const kind of KINDS) await unpinNamespace(pinOf(bundle, kind))
  removeBundle(bundle)
}
