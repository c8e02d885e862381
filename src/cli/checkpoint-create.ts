import { defineVerb } from './line/verb.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [
    { name: 'container', count: '1', completes: 'container' },
    { name: 'checkpoint', count: '1' },
  ],
  options: {
    'leave-running': { help: 'let the container go on; otherwise it ends with the checkpoint' },
    'with-files': { help: 'keep what it has written beside its image too, so that the checkpoint can be exported' },
    'tcp-established': { help: 'with established TCP connections' },
    'ext-unix-sk': { help: 'with Unix sockets whose other end is outside of the container' },
    'file-locks': { help: 'with locks on files' },
  },
  async run({ client, flags, args: [container = '', name = ''], format }) {
    const { id } = await client.container(container)
    const { result } = await client.execute('task.checkpoint', {
      subject: id,
      payload: {
        name,
        processes: flags['leave-running'] ? 'go-on' : 'end',
        files: flags['with-files'] ? 'keep' : 'leave',
        tcp: flags['tcp-established'] ? 'keep' : 'refuse',
        unixSockets: flags['ext-unix-sk'] ? 'keep' : 'refuse',
        fileLocks: flags['file-locks'] ? 'keep' : 'refuse',
      },
    })
    if (format === 'table') process.stdout.write(`${name}\n`)
    else printJson(result, format)
    return 0
  },
})
