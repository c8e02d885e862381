import { each } from './line/each.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [{ name: 'container', count: '1-', completes: 'container' }],
  options: {},
  run: ({ client, args, debug }) =>
    each(args, debug, async (name) => {
      const { id } = await client.container(name)
      return String((await client.exitOf(id)).exitCode)
    }),
})
