import type { ContainerView, NetworkView, PurserClient } from '../client/index.ts'
import { networksOf } from '../oci/spec/network-mode.ts'
import { failed } from './line/failed.ts'
import { defineVerb } from './line/verb.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [{ name: 'name', count: '1-', completes: 'network' }],
  options: {},
  async run({ client, args, format, debug }) {
    const found: object[] = []
    let status = 0
    const containers = await Array.fromAsync(client.list('containers'))
    for (const name of args) {
      try {
        found.push(await inspect(client, name, containers))
      } catch (thrown) {
        const code = failed(thrown, { debug })
        if (status === 0) status = code
      }
    }
    if (format === 'ndjson') for (const each of found) printJson(each, 'ndjson')
    else printJson(found)
    return status
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
