import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [
    { name: 'network', count: '1', completes: 'network' },
    { name: 'container', count: '1', completes: 'container' },
  ],
  options: {},
  async run({ client, args: [network = '', container = ''] }) {
    const { id } = await client.container(container)
    await client.execute('container.disconnect', { subject: id, payload: { network } })
    return 0
  },
})
