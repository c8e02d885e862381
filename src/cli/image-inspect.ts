import { imageNamed } from './line/image-name.ts'
import { defineVerb } from './line/verb.ts'
import { printFound } from './terminal/inspected.ts'

export const verb = defineVerb({
  args: [{ name: 'image', count: '1-', completes: 'image' }],
  options: {},
  run: ({ client, args, format, debug }) =>
    printFound(
      args,
      async (given) => {
        const name = await imageNamed(client, given)
        return [await client.get(`/v1/images/${encodeURIComponent(name)}/details`)]
      },
      { format, debug },
    ),
})
