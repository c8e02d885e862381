import { each } from './line/each.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [{ name: 'image', count: '1-', completes: 'image' }],
  options: {},
  run: ({ client, args, debug }) =>
    each(args, debug, async (subject) => {
      const { result } = await client.execute('image.verify', { subject })
      const { digest, required, signers } = result
      const by = Array.isArray(signers) ? `signed by ${signers.join(', ')}` : 'no policy asks for a signature'
      return `${subject}: ${String(digest)}, ${required === 'nothing' ? by : `${String(required)}, ${by}`}`
    }),
})
