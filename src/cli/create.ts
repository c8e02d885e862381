import { defineVerb } from './line/verb.ts'
import { containerOptions, containerPayload, submitOptions } from './options/container.ts'

export const verb = defineVerb({
  args: [
    { name: 'image', count: '1', completes: 'image' },
    { name: 'args', count: '0-' },
  ],
  options: containerOptions,
  passThrough: 'first-argument',
  async run({ client, flags, args: [image = '', ...args] }) {
    const payload = await containerPayload(client, image, args, flags)
    const made = await client.execute('container.provision', { ...submitOptions(flags), payload })
    process.stdout.write(`${made.subject}\n`)
    return 0
  },
})
