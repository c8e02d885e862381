import { defineVerb } from './line/verb.ts'
import { DETACH_KEYS, detachOption } from './options/container.ts'
import { attach } from './terminal/attach.ts'
import { forwardSignals } from './terminal/signals.ts'

export const verb = defineVerb({
  args: [{ name: 'container', count: '1', completes: 'container' }],
  options: { ...detachOption, 'no-stdin': { help: 'only read' } },
  async run({ client, flags, args: [name = ''] }) {
    const { id, options } = await client.container(name)
    const left = new AbortController()
    let statusLeft = 0
    using _ = forwardSignals(
      (signal) => client.submit('task.kill', { subject: id, payload: { signal } }),
      (status) => {
        statusLeft = status
        left.abort()
      },
    )
    const interactive = options.stdin && !flags['no-stdin']
    try {
      const exitCode = await attach(client, {
        path: `/v1/containers/${id}/attach${interactive ? '?stdin=true' : ''}`,
        interactive,
        tty: options.tty,
        detachKeys: flags['detach-keys'] ?? DETACH_KEYS,
        signal: left.signal,
      })
      return exitCode === 'detached' ? 0 : exitCode
    } catch (error) {
      if (statusLeft !== 0) return statusLeft
      throw error
    }
  },
})
