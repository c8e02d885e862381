import type { ContainerView, NetworkView, PurserClient } from '../client/index.ts'
import { networksOf } from '../oci/spec/network-mode.ts'
import { defineVerb } from './line/verb.ts'
import { printFound } from './terminal/inspected.ts'

export const verb = defineVerb({
  args: [{ name: 'name', count: '1-', completes: 'network' }],
  options: {},
  async run({ client, args, format, debug }) {
    const containers = await Array.fromAsync(client.list('containers'))
    return await printFound(args, async (name) => [await inspect(client, name, containers)], { format, debug })
  },
})

/** With the containers in it, and the addresses that they have there. */
async function inspect(client: PurserClient, name: string, containers: readonly ContainerView[]): Promise<object> {
  const network = await client.get<NetworkView>(`/v1/networks/${encodeURIComponent(name)}`)
  const members = containers.filter(({ options }) => networksOf(options).includes(name))
  return {
    ...network,
    containers: members.map(({ id, status, task }) => {
      const own = task?.interfaces?.find((each) => each.network === name)
      return { id, status, ...(own === undefined ? {} : { addresses: own.addresses, mac: own.mac }) }
    }),
  }
}
