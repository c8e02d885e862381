import { imageNamed } from './line/image-name.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [
    { name: 'image', count: '1', completes: 'image' },
    { name: 'name', count: '1' },
  ],
  options: {},
  async run({ client, args: [given = '', subject = ''] }) {
    const source = await imageNamed(client, given)
    await client.execute('image.tag', { subject, payload: { source } })
    return 0
  },
})
