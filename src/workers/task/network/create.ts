import { chooseSubnet, network } from '../../../commands/network.ts'
import { PurserError } from '../../../model/errors.ts'
import { hostSubnets } from '../../../network/bridge.ts'
import { firstHost, formatSubnet, parseSubnet } from '../../../oci/subnet.ts'
import { defineTaskHandler } from '../effects.ts'

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
    const data = { driver, subnet: formatSubnet(subnet), gateway, internal, bridge, labels }
    await job.append(network.fact(id, 'network.created', data))
  })
  return { facts: [], result: { subject: id } }
})
