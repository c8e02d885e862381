import { network, takenSubnets } from '../../../commands/network.ts'
import { freeSubnet } from '../../../network/bridge.ts'
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
    const subnet = asked ?? freeSubnet(takenSubnets(view).map((each) => each.subnet))
    const { gateway = firstHost(subnet), driver, internal, labels } = payload
    const bridge = effects.networks.bridgeName(namespace, id)
    const data = { driver, subnet: formatSubnet(subnet), gateway, internal, bridge, labels }
    await job.append(network.fact(id, 'network.created', data))
  })
  return { facts: [], result: { subject: id } }
})
