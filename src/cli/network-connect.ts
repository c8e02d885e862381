import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [
    { name: 'network', count: '1', completes: 'network' },
    { name: 'container', count: '1', completes: 'container' },
  ],
  options: {
    alias: { value: 'name', many: true, help: 'name that others in that network know it by, besides its own' },
  },
  async run({ client, args: [network = '', container = ''], flags: { alias } }) {
    const { id } = await client.container(container)
    await client.execute('container.connect', { subject: id, payload: { network, aliases: alias } })
    return 0
  },
})
