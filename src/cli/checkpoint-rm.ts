import { each } from './line/each.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [
    { name: 'container', count: '1', completes: 'container' },
    { name: 'checkpoint', count: '1-' },
  ],
  options: {},
  async run({ client, args: [container = '', ...names], debug }) {
    const { id } = await client.container(container)
    return await each(names, debug, async (name) => {
      await client.execute('container.remove-checkpoint', { subject: id, payload: { name } })
      return name
    })
  },
})
