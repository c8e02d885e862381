import { defineVerb } from './line/verb.ts'
import { containerOptions, containerPayload, sealedVariables, submitOptions } from './options/container.ts'

export const verb = defineVerb({
  args: [
    { name: 'image', count: '1', completes: 'image' },
    { name: 'args', count: '0-' },
  ],
  options: containerOptions,
  passThrough: 'first-argument',
  async run({ client, flags, args: [image = '', ...args] }) {
    const payload = containerPayload(image, args, flags, await sealedVariables(client, flags))
    const made = await client.execute('container.provision', { ...submitOptions(flags), payload })
    process.stdout.write(`${made.subject}\n`)
    return 0
  },
})
