import { defineVerb } from './line/verb.ts'
import { change, mergedChanges } from './options/changes.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [
    { name: 'container', count: '1', completes: 'container' },
    { name: 'image', count: '1' },
  ],
  options: {
    author: { short: 'a', value: 'text', help: 'who made it' },
    message: { short: 'm', value: 'text', help: 'stands in the history of the image' },
    change: {
      short: 'c',
      value: 'instruction',
      many: true,
      parse: change,
      help: 'as in a Dockerfile: CMD ["sh"], ENV A=b, USER 1000',
    },
    'no-pause': { help: 'leave the container running meanwhile' },
    compression: { value: 'how', choices: ['none', 'gzip', 'zstd'], help: 'of the layer; gzip by default' },
  },
  async run({ client, flags, args: [name = '', image = ''], format }) {
    const { id } = await client.container(name)
    const { author, message } = flags
    const { result } = await client.execute('image.commit', {
      subject: image,
      payload: {
        container: id,
        author,
        message,
        running: flags['no-pause'] ? 'leave' : 'pause',
        compression: (['none', 'gzip', 'zstd'] as const).find((each) => each === flags.compression),
        changes: mergedChanges(flags.change),
      },
    })
    if (format === 'table') process.stdout.write(`${result.digest}\n`)
    else printJson(result, format)
    return 0
  },
})
