import { each } from './line/each.ts'
import { imageNamed } from './line/image-name.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [{ name: 'image', count: '1-', completes: 'image' }],
  options: {},
  run: ({ client, args, debug }) =>
    each(args, debug, async (given) => {
      return (await client.execute('image.unpin', { subject: await imageNamed(client, given) })).subject
    }),
})
