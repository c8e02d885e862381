import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [
    { name: 'image', count: '1', completes: 'image' },
    { name: 'name', count: '1' },
  ],
  options: {},
  async run({ client, args: [source = '', subject = ''] }) {
    await client.execute('image.tag', { subject, payload: { source } })
    return 0
  },
})
