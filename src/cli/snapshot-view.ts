import { defineVerb } from './line/verb.ts'
import { keptLabels, snapshotSubject, snapshotterOption } from './options/snapshot.ts'

export const verb = defineVerb({
  args: [
    { name: 'key', count: '1' },
    { name: 'parent', count: '0-1' },
  ],
  options: snapshotterOption,
  async run({ client, flags, args: [key = '', parent] }) {
    const subject = snapshotSubject(key, flags.snapshotter)
    await client.execute('snapshot.view', { subject, payload: { parent, labels: keptLabels() } })
    process.stdout.write(`${subject}\n`)
    return 0
  },
})
