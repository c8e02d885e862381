import { requireNoTerminal, writeArchive } from './line/archive-file.ts'
import { checkpointArchive } from './line/checkpoint-archive.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [
    { name: 'container', count: '1', completes: 'container' },
    { name: 'checkpoint', count: '1' },
  ],
  options: {
    output: { short: 'o', value: 'file', completes: 'file', help: 'file to write, instead of standard output' },
  },
  async run({ client, flags: { output }, args: [container = '', name = ''] }) {
    requireNoTerminal(output, 'purser checkpoint export CONTAINER CHECKPOINT > checkpoint.tar')
    const { id } = await client.container(container)
    await writeArchive(checkpointArchive(client, id, name), output)
    return 0
  },
})
