import { writeArchive } from './line/archive-file.ts'
import { checkpointArchive } from './line/checkpoint-archive.ts'
import { defineVerb } from './line/verb.ts'
import { checkpointModeOptions, checkpointModePayload } from './options/checkpoint.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [
    { name: 'container', count: '1', completes: 'container' },
    { name: 'checkpoint', count: '1' },
  ],
  options: {
    'leave-running': { help: 'let the container go on; otherwise it ends with the checkpoint' },
    'with-files': { help: 'keep what it has written beside its image too, so that the checkpoint can be exported' },
    export: { short: 'e', value: 'file', completes: 'file', help: 'keep its files, and write all of it to an archive' },
    ...checkpointModeOptions,
  },
  async run({ client, flags, args: [container = '', name = ''], format }) {
    const { id } = await client.container(container)
    const { result } = await client.execute('task.checkpoint', {
      subject: id,
      payload: {
        name,
        processes: flags['leave-running'] ? 'go-on' : 'end',
        files: flags['with-files'] || flags.export !== undefined ? 'keep' : 'leave',
        ...checkpointModePayload(flags),
      },
    })
    if (flags.export !== undefined) await writeArchive(checkpointArchive(client, id, name), flags.export)
    if (format === 'table') process.stdout.write(`${name}\n`)
    else printJson(result, format)
    return 0
  },
})
