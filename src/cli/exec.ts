import { randomBytes } from '../client/random.ts'
import { parseBytes, parseDuration } from '../oci/size.ts'
import { defineVerb } from './line/verb.ts'
import { DETACH_KEYS, detachOption, processOptions, processPayload, sealedVariables } from './options/container.ts'
import { attachWithSignals } from './terminal/attach-with-signals.ts'

export const verb = defineVerb({
  args: [
    { name: 'container', count: '1', completes: 'container' },
    { name: 'args', count: '1-' },
  ],
  options: {
    detach: { short: 'd', help: 'leave it running, and print its id' },
    id: { value: 'id', help: 'to be called so, instead of a made-up id' },
    timeout: { value: 'duration', parse: parseDuration, help: 'kill it, and what it has started, after: 30s' },
    'output-limit': { value: 'bytes', parse: parseBytes, help: 'output beyond it is dropped: 10m' },
    ...processOptions,
    ...detachOption,
  },
  passThrough: 'first-argument',
  failsLike: 'docker',
  async run({ client, flags, args: [name = '', ...args] }) {
    const { id } = await client.container(name)
    const execId = flags.id ?? `exec-${randomBytes(6).toString('hex')}`
    const output = flags.detach ? 'discard' : 'attach'
    const payload = processPayload(flags, await sealedVariables(client, flags))
    const limits = { timeoutMs: flags.timeout, outputBytesMax: flags['output-limit'] }
    await client.execute('task.exec', { subject: id, payload: { execId, args, ...payload, output, ...limits } })
    if (flags.detach) {
      process.stdout.write(`${execId}\n`)
      return 0
    }
    const { interactive, tty } = flags
    return await attachWithSignals(
      client,
      { id, execId },
      {
        path: `/v1/containers/${id}/execs/${execId}/attach`,
        query: interactive ? { stdin: 'true' } : {},
        output: 'passing',
        interactive,
        tty,
        detachKeys: flags['detach-keys'] ?? DETACH_KEYS,
      },
    )
  },
})
