import { randomBytes } from 'node:crypto'
import { defineVerb } from './line/verb.ts'
import { DETACH_KEYS, detachOption, processOptions, processPayload, sealedVariables } from './options/container.ts'
import { attachWithSignals } from './terminal/attach-with-signals.ts'

export const verb = defineVerb({
  args: [
    { name: 'container', count: '1', completes: 'container' },
    { name: 'args', count: '1-' },
  ],
  options: { detach: { short: 'd', help: 'leave it running' }, ...processOptions, ...detachOption },
  passThrough: 'first-argument',
  failsLike: 'docker',
  async run({ client, flags, args: [name = '', ...args] }) {
    const { id } = await client.container(name)
    const execId = `exec-${randomBytes(6).toString('hex')}`
    const output = flags.detach ? 'discard' : 'attach'
    const process = processPayload(flags, await sealedVariables(client, flags))
    await client.execute('task.exec', { subject: id, payload: { execId, args, ...process, output } })
    if (flags.detach) return 0
    const { interactive, tty } = flags
    const path = `/v1/containers/${id}/execs/${execId}/attach${interactive ? '?stdin=true' : ''}`
    const detachKeys = flags['detach-keys'] ?? DETACH_KEYS
    return await attachWithSignals(client, { id, execId }, { path, interactive, tty, detachKeys })
  },
})
