import { each } from './line/each.ts'
import { defineVerb } from './line/verb.ts'
import { snapshotSubject, snapshotterOption } from './options/snapshot.ts'

export const verb = defineVerb({
  args: [{ name: 'key', count: '1-' }],
  options: snapshotterOption,
  run: ({ client, args, flags, debug }) =>
    each(args, debug, async (key) => {
      const subject = snapshotSubject(key, flags.snapshotter)
      return (await client.execute('snapshot.remove', { subject })).subject
    }),
})
