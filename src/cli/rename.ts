import { defineVerb } from './line/verb.ts'
import { containerName } from './options/container.ts'

export const verb = defineVerb({
  args: [
    { name: 'container', count: '1', completes: 'container' },
    { name: 'name', count: '1' },
  ],
  options: {},
  async run({ client, args: [container = '', name = ''] }) {
    const { id } = await client.container(container)
    await client.execute('container.rename', { subject: id, payload: { name: containerName(name) } })
    return 0
  },
})
