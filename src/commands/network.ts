import { z } from 'zod'
import { defineAggregate, type Refusal, refuse, type View } from '../model/aggregate.ts'
import { event } from '../model/event-schema.ts'
import { type Labels, labels } from '../model/labels.ts'
import { networksOf } from '../oci/spec/network-mode.ts'
import { networkName } from '../oci/spec/network-options.ts'
import {
  firstHost,
  formatSubnet,
  freeLocalSubnet,
  freeSubnet,
  isHostOf,
  overlap,
  parseSubnet,
  type Subnet,
} from '../oci/subnet.ts'
import { containers } from './container.ts'
import { sandboxes } from './sandbox-record.ts'

/** Room for a gateway, a container and two addresses that nobody may have; and no more than a private network offers. */
const PREFIX_MIN = 8
const PREFIX_MAX = 29

const subnet = z.string().refine((text) => {
  const { family, prefix = 0 } = parseSubnet(text) ?? {}
  return family === 4 && prefix >= PREFIX_MIN && prefix <= PREFIX_MAX
}, `a subnet is an IPv4 address and a prefix of ${PREFIX_MIN} to ${PREFIX_MAX}, no bit set beyond it: 10.89.3.0/24`)

const PREFIX6_MAX = 126

const subnet6 = z.string().refine((text) => {
  const { family, prefix = 0 } = parseSubnet(text) ?? {}
  return family === 6 && prefix >= PREFIX_MIN && prefix <= PREFIX6_MAX
}, `a subnet of IPv6 has a prefix of ${PREFIX_MIN} to ${PREFIX6_MAX}, and no bit set beyond it: fd00:89:3::/64`)

const bridge = z.strictObject({
  driver: z.literal('bridge'),
  subnet,
  gateway: z.ipv4().describe("the bridge's own address, which is the containers' way out"),
  subnet6: subnet6.optional().describe('where its containers have IPv6 addresses too'),
  gateway6: z.ipv6().optional(),
  internal: z.boolean().describe('whether nothing leads out of it'),
  bridge: z.string().describe('name of its interface on the host'),
  labels,
})
export type BridgeNetwork = z.output<typeof bridge>

export type NetworkState =
  | { status: 'absent' }
  | ({ status: 'present' | 'removing'; createdAt: string } & BridgeNetwork & { labels: Labels })

/** Networks that Purser makes. What administrators have laid out for CNI is used by its name, and is no record. */
export const network = defineAggregate({
  name: 'network',
  id: networkName,
  initial: { status: 'absent' } as NetworkState,
  commands: {
    'network.create': z
      .strictObject({
        driver: z.enum(['bridge'], 'bridge is the only driver; for others write a conflist').default('bridge'),
        subnet: subnet.optional().describe('by default a free one of 10.89.0.0/16'),
        gateway: z.ipv4().optional().describe('by default the first address of the subnet'),
        ipv6: z.boolean().default(false).describe('whether containers have an IPv6 address too'),
        subnet6: subnet6.optional().describe('makes it one with IPv6; by default a unique local /64 (RFC 4193)'),
        gateway6: z.ipv6().optional().describe('by default the first address of that subnet'),
        internal: z.boolean().default(false).describe('whether nothing leads out of it'),
        labels: labels.default({}),
      })
      .describe('make a network that containers can be run in'),
    'network.remove': z.strictObject({}).describe('remove a network that no container uses'),
  },
  leadsTo: {
    'network.create': ['network.created'],
    'network.remove': ['network.removing', 'network.removed'],
  },
  events: {
    'network.created': event(
      2,
      'containers can be run in it; its bridge comes with the first of them',
      bridge,
      (data) => data, // Version 2 may have IPv6.
    ),
    'network.removing': event(1, 'its bridge is about to go', z.strictObject({})),
    'network.removed': event(1, 'it is gone, and its bridge', z.strictObject({})),
  },
  decide(state, { type, namespace, subject, payload }, view) {
    switch (type) {
      case 'network.create': {
        if (state.status !== 'absent') {
          return refuse('already_exists', `network ${subject} exists in namespace ${namespace}`, 'choose another name')
        }
        const { ipv6: _, gateway, gateway6, ...rest } = payload
        const refusal =
          unfit('subnet', payload.subnet, gateway, view) ?? unfit('subnet6', payload.subnet6, gateway6, view)
        if (refusal) return refusal
        const chosen = payload.subnet === undefined ? chooseSubnet(view) : parseSubnet(payload.subnet)
        if (chosen === undefined) return noneFree()
        // The handler knows the host: its bridge, and what is free there.
        const data = { ...rest, subnet: formatSubnet(chosen), gateway: gateway ?? firstHost(chosen), bridge: '' }
        return [{ type: 'network.created', data }]
      }
      case 'network.remove': {
        if (state.status === 'absent') {
          return refuse('not_found', `network ${subject} is not in namespace ${namespace}`, 'purser network ls')
        }
        const users = usersOf(view, namespace, subject)
        if (users.length === 0) return [{ type: 'network.removing', data: {} }]
        return refuse(
          'failed_precondition',
          `network ${subject} is used by ${users.slice(0, 5).join(', ')}`,
          'remove them first: purser rm, purser sandbox rm',
        )
      }
    }
  },
  evolve(state, event): NetworkState {
    switch (event.type) {
      case 'network.created':
        return { status: 'present', ...event.data, createdAt: event.time }
      case 'network.removing':
        return state.status === 'absent' ? state : { ...state, status: 'removing' }
      case 'network.removed':
        return network.initial
    }
  },
})

function unfit(
  field: string,
  written: string | undefined,
  gateway: string | undefined,
  view: View,
): Refusal | undefined {
  const asked = written === undefined ? undefined : parseSubnet(written)
  if (asked === undefined) {
    if (gateway === undefined) return undefined
    return refuse('invalid_argument', `gateway ${gateway} is given without the ${field} that it is of`, 'give that too')
  }
  const text = formatSubnet(asked)
  if (gateway !== undefined && !isHostOf(gateway, asked)) {
    return refuse(
      'invalid_argument',
      `gateway ${gateway} is no address of a machine in ${text}`,
      `as ${firstHost(asked)} is`,
    )
  }
  for (const { namespace, id, subnet } of takenSubnets(view)) {
    if (!overlap(subnet, asked)) continue
    return refuse(
      'already_exists',
      `subnet ${text} overlaps with ${formatSubnet(subnet)} of network ${id} in namespace ${namespace}`,
      'choose another subnet',
    )
  }
  return undefined
}

/** A unique local one. @param globalId 40 bits @param alsoTaken what only the host knows of */
export const chooseSubnet6 = (view: View, globalId: bigint, alsoTaken: readonly Subnet[]): Subnet | undefined =>
  freeLocalSubnet(globalId, [...takenSubnets(view).map(({ subnet }) => subnet), ...alsoTaken])

/** @param alsoTaken what only the host knows of */
export const chooseSubnet = (view: View, alsoTaken: readonly Subnet[] = []): Subnet | undefined =>
  freeSubnet([...takenSubnets(view).map(({ subnet }) => subnet), ...alsoTaken])

const noneFree = (): Refusal =>
  refuse('failed_precondition', 'every /24 of 10.89.0.0/16 is taken', 'name a subnet: --subnet 10.77.3.0/24')

/** Subnets of all networks of the node: they share its routes. */
const takenSubnets = (view: View): { namespace: string; id: string; subnet: Subnet }[] =>
  [...view.list(network)].flatMap(({ namespace, id, state }) => {
    const written = state.status === 'absent' ? [] : [state.subnet, state.subnet6 ?? '']
    return written.flatMap((text) => {
      const subnet = parseSubnet(text)
      return subnet ? [{ namespace, id, subnet }] : []
    })
  })

const usersOf = (view: View, namespace: string, name: string): string[] => [
  ...[...view.list(containers, namespace)].flatMap(({ id, state }) =>
    state.status !== 'absent' && networksOf(state.options).includes(name) ? [`container ${id}`] : [],
  ),
  ...[...view.list(sandboxes, namespace)].flatMap(({ id, state }) =>
    state.status !== 'absent' && networksOf(state.made).includes(name) ? [`sandbox ${id}`] : [],
  ),
]
