import { containers } from '../../../commands/container.ts'
import { type NetworkInterface, tasks } from '../../../commands/task.ts'
import type { View } from '../../../model/aggregate.ts'
import type { HostLine } from '../../../network/hosts-file.ts'
import { hostnameOf } from '../../../oci/spec/build-spec.ts'
import type { ContainerOptions } from '../../../oci/spec/container-options.ts'

/** A container that is in networks now. */
export interface Member {
  id: string
  name: string
  options: ContainerOptions
  interfaces: readonly NetworkInterface[]
}

/** All of a namespace: a network has no others that it would tell of. */
export const membersOf = (view: View, namespace: string): Member[] =>
  [...view.list(tasks, namespace)].flatMap(({ id, state }) => {
    const made = view.get(containers, namespace, id)
    if (made.status === 'absent' || !('interfaces' in state) || state.interfaces === undefined) return []
    return [{ id, name: made.name ?? id, options: made.options, interfaces: state.interfaces }]
  })

/** Every hosts file has these itself. */
const EVERYWHERE = ['localhost', 'ip6-localhost', 'ip6-loopback', 'ip6-allnodes', 'ip6-allrouters']

/**
 * By which names a container reaches others, and itself, in each of its networks. What its own hosts file says without them, its
 * hostname and the lines that were asked for, goes before.
 */
export function linesFor(own: Member, members: readonly Member[]): HostLine[] {
  const said = new Set([...EVERYWHERE, ...hostnames(own), ...(own.options.extraHosts ?? []).map(({ name }) => name)])
  return own.interfaces.flatMap(({ network }) =>
    members.flatMap((member) => {
      const names = namesIn(network, member).filter((name) => !said.has(name))
      if (names.length === 0) return []
      const shared = member.interfaces.filter((each) => each.network === network)
      return shared.flatMap(({ addresses }) =>
        addresses.map((address) => ({ address: address.split('/')[0] ?? '', names })),
      )
    }),
  )
}

function namesIn(network: string, member: Member): string[] {
  const { id, name, options } = member
  const aliases = (options.aliases ?? []).filter((alias) => (alias.network ?? network) === network)
  const names = [name, id, ...hostnames(member), ...aliases.map((alias) => alias.name), `${name}.${network}`]
  return [...new Set(names)]
}

/** What a machine is called, and the first part of that. */
function hostnames({ id, options }: Pick<Member, 'id' | 'options'>): string[] {
  const hostname = hostnameOf(options, id)
  return [hostname, hostname.split('.')[0] ?? hostname]
}
