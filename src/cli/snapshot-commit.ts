import { defineVerb } from './line/verb.ts'
import { keptLabels, snapshotSubject, snapshotterOption } from './options/snapshot.ts'

export const verb = defineVerb({
  args: [
    { name: 'name', count: '1' },
    { name: 'key', count: '1' },
  ],
  options: snapshotterOption,
  async run({ client, flags, args: [name = '', key = ''] }) {
    const subject = snapshotSubject(key, flags.snapshotter)
    await client.execute('snapshot.commit', { subject, payload: { name, labels: keptLabels() } })
    process.stdout.write(`${name}\n`)
    return 0
  },
})
