import { defineVerb } from './line/verb.ts'
import { DETACH_KEYS, detachOption } from './options/container.ts'
import { attachWithSignals } from './terminal/attach-with-signals.ts'

export const verb = defineVerb({
  args: [{ name: 'container', count: '1', completes: 'container' }],
  options: { ...detachOption, 'no-stdin': { help: 'only read' } },
  async run({ client, flags, args: [name = ''] }) {
    const { id, options } = await client.container(name)
    const interactive = options.stdin && !flags['no-stdin']
    return await attachWithSignals(
      client,
      { id },
      {
        path: `/v1/containers/${id}/attach`,
        query: interactive ? { stdin: 'true' } : {},
        output: 'kept',
        interactive,
        tty: options.tty,
        detachKeys: flags['detach-keys'] ?? DETACH_KEYS,
      },
    )
  },
})
