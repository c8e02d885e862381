import { randomUUID } from 'node:crypto'
import { parseBytes } from '../oci/size.ts'
import { defineVerb } from './line/verb.ts'
import { containerName, label, labelsOf } from './options/container.ts'
import { networkOptions, networkPayload } from './options/network.ts'

export const verb = defineVerb({
  args: [{ name: 'id', count: '0-1' }],
  options: {
    sandboxer: {
      value: 'name',
      choices: ['podsandbox', 'shim'],
      help: 'who keeps it: podsandbox (the default) pins namespaces; shim: the shim of the runtime, by the sandbox API',
    },
    runtime: { value: 'name', help: 'of the sandbox and of all containers in it (purser runtime ls)' },
    ...networkOptions,
    hostname: { value: 'name', help: 'hostname of all containers in it' },
    ipc: { value: 'mode', choices: ['private', 'host'], help: 'private (the default) to the sandbox, or host' },
    'shm-size': { value: 'bytes', parse: parseBytes, help: 'size of /dev/shm: 64m by default' },
    annotation: { value: 'key=value', many: true, parse: label, help: 'told to the shim' },
    label: { short: 'l', value: 'key=value', many: true, parse: label, help: 'label' },
  },
  async run({ client, args: [id], flags }) {
    const { sandboxer, ipc } = flags
    const payload = {
      ...(sandboxer === 'shim' ? { sandboxer: 'shim' as const } : {}),
      runtime: flags.runtime,
      ...networkPayload(flags),
      hostname: flags.hostname,
      ...(ipc === 'host' ? { ipc: 'host' as const } : {}),
      shmBytes: flags['shm-size'],
      annotations: labelsOf(flags.annotation),
      labels: labelsOf(flags.label),
    }
    const subject = id === undefined ? {} : { subject: containerName(id) }
    const made = await client.execute('sandbox.create', { ...subject, payload, idempotencyKey: randomUUID() })
    process.stdout.write(`${made.subject}\n`)
    return 0
  },
})
