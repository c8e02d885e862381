import type { z } from 'zod'
import { chooseSubnet, chooseSubnet6, network } from '../../../commands/network.ts'
import { PurserError } from '../../../model/errors.ts'
import { globalIdOf, hostSubnets, requireIpv6 } from '../../../network/bridge.ts'
import { firstHost, formatSubnet, parseSubnet } from '../../../oci/subnet.ts'
import type { Job } from '../../../queue/handler.ts'
import { defineTaskHandler, type TaskEffects } from '../effects.ts'

/** Records a network with a subnet of its own. Its bridge comes with the first container. */
export const createNetwork = defineTaskHandler(network, 'network.create', async (job) => {
  const { id, namespace, payload, view, effects } = job
  // One at a time, so that no two take one subnet.
  await effects.networks.allocate(async () => {
    // What an earlier attempt has written is this one's.
    if (job.attempt > 1 && job.state.status === 'present') return
    job.decide()
    const asked = payload.subnet === undefined ? undefined : parseSubnet(payload.subnet)
    const subnet = asked ?? chooseSubnet(view, hostSubnets())
    if (subnet === undefined) {
      throw new PurserError('failed_precondition', 'networks and interfaces have every /24 of 10.89.0.0/16', {
        remedy: 'name a subnet: --subnet 10.77.3.0/24',
      })
    }
    const { gateway = firstHost(subnet), driver, internal, labels } = payload
    const bridge = effects.networks.bridgeName(namespace, id)
    const ipv6 = await ipv6Of(job, bridge)
    const data = { driver, subnet: formatSubnet(subnet), gateway, ...ipv6, internal, bridge, labels }
    await job.append(network.fact(id, 'network.created', data))
  })
  return { facts: [], result: { subject: id } }
})

async function ipv6Of(
  { payload, view, signal }: Job<unknown, z.output<(typeof network.commands)['network.create']>, TaskEffects>,
  bridge: string,
): Promise<{ subnet6?: string; gateway6?: string }> {
  if (!payload.ipv6 && payload.subnet6 === undefined) return {}
  await requireIpv6(payload.internal, signal)
  const asked = payload.subnet6 === undefined ? undefined : parseSubnet(payload.subnet6)
  const subnet = asked ?? chooseSubnet6(view, globalIdOf(bridge), hostSubnets())
  if (subnet === undefined) {
    throw new PurserError(
      'failed_precondition',
      'networks and interfaces have every /64 of the prefix of this network',
      {
        remedy: 'name a subnet: --subnet fd00:89:3::/64',
      },
    )
  }
  return { subnet6: formatSubnet(subnet), gateway6: payload.gateway6 ?? firstHost(subnet) }
}
