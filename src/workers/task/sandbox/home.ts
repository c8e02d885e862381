import { type PresentSandbox, sandboxes } from '../../../commands/sandbox-record.ts'
import type { View } from '../../../model/aggregate.ts'
import { PurserError } from '../../../model/errors.ts'
import { ofSandbox } from '../../../network/owners.ts'
import type { ContainerOptions } from '../../../oci/spec/container-options.ts'
import type { HostPart } from '../../../oci/spec/isolation.ts'
import type { ShimIdentity } from '../../../shim/shim.ts'
import type { TaskEffects } from '../effects.ts'
import { bindShm } from '../isolation.ts'
import { mountPoint } from '../live-task.ts'
import { asksForNames, type Connection, filesOfHost, nameFilesIn } from '../network/connect.ts'
import { hasHostNetwork, hostnameOfSandbox, namesOf, pinnedKinds, pinOf } from './shared.ts'

/** What a container has of the sandbox that it is in. */
export interface Home {
  identity: ShimIdentity
  /** In place of its own. */
  options: Partial<ContainerOptions>
  connection: Connection
  host: Pick<HostPart, 'namespaces' | 'shm'>
  /** By these shims tell the containers of a sandbox. @see containerd, internal/cri/annotations */
  annotations: Record<string, string>
}

/** @throws PurserError failed_precondition when the sandbox does not run */
export function requireSandbox(
  view: View,
  namespace: string,
  id: string,
): Extract<PresentSandbox, { status: 'running' }> {
  const state = view.get(sandboxes, namespace, id)
  if (state.status === 'running') return state
  const is = state.status === 'absent' ? `not in namespace ${namespace}` : state.status
  throw new PurserError('failed_precondition', `sandbox ${id}, which the container is to be in, is ${is}`, {
    remedy: `purser sandbox ${state.status === 'absent' ? 'create' : 'start'} ${id}`,
  })
}

/** @throws PurserError failed_precondition when the sandbox does not run */
export function homeIn(
  { view, namespace, effects }: { view: View; namespace: string; effects: Pick<TaskEffects, 'paths' | 'networks'> },
  id: string,
): Home {
  const { made } = requireSandbox(view, namespace, id)
  const bundle = effects.paths.sandbox(namespace, id)
  const kinds = pinnedKinds(made)
  const isHosts = hasHostNetwork(made)
  const namesOfHost = isHosts && !asksForNames(made)
  return {
    identity: { namespace, id, bundle },
    options: isHosts
      ? { network: 'host', uts: 'host', ...(made.ipc === 'host' ? { ipc: 'host' } : {}) }
      : { hostname: hostnameOfSandbox(made, id), ...(made.ipc === 'host' ? { ipc: 'host' } : {}) },
    connection: {
      ...(isHosts ? {} : { namespace: effects.networks.netnsOf({ namespace, id: ofSandbox(id) }) }),
      isPinned: false, // It was there before the shim.
      files: namesOfHost ? filesOfHost() : nameFilesIn(namesOf(bundle)),
    },
    host: {
      namespaces: Object.fromEntries(kinds.map((kind) => [kind, pinOf(bundle, kind)])),
      shm: kinds.includes('ipc') ? bindShm(mountPoint(bundle, 'shm')) : undefined,
    },
    annotations: {
      'io.kubernetes.cri.container-type': 'container',
      'io.kubernetes.cri.sandbox-id': id,
    },
  }
}
