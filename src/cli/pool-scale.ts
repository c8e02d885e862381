import { defineVerb } from './line/verb.ts'
import { sizeOf, sizing, sizingOptions } from './options/pool.ts'

export const verb = defineVerb({
  args: [
    { name: 'name', count: '1' },
    { name: 'size', count: '1' },
  ],
  options: sizingOptions,
  async run({ client, flags, args: [subject = '', size = ''] }) {
    await client.execute('pool.scale', { subject, payload: sizing(sizeOf(size), flags) })
    process.stdout.write(`${subject}\n`)
    return 0
  },
})
