import { defineVerb } from './line/verb.ts'
import { keptLabels, snapshotSubject, snapshotterOption } from './options/snapshot.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [{ name: 'key', count: '1' }],
  options: {
    ...snapshotterOption,
    compression: { value: 'how', choices: ['none', 'gzip', 'zstd'], help: 'of the layer; gzip by default' },
  },
  async run({ client, flags, args: [key = ''], format }) {
    const compression = (['none', 'gzip', 'zstd'] as const).find((each) => each === flags.compression)
    const subject = snapshotSubject(key, flags.snapshotter)
    const { result } = await client.execute('diff.create', { subject, payload: { compression, labels: keptLabels() } })
    if (format === 'table') process.stdout.write(`${result.digest}\n`)
    else printJson(result, format)
    return 0
  },
})
