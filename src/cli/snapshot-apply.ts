import { parseDigest } from '../model/digest.ts'
import { defineVerb } from './line/verb.ts'
import { snapshotSubject, snapshotterOption } from './options/snapshot.ts'
import { printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [
    { name: 'key', count: '1' },
    { name: 'digest', count: '1', completes: 'content' },
  ],
  options: snapshotterOption,
  async run({ client, flags, args: [key = '', digest = ''], format }) {
    const subject = snapshotSubject(key, flags.snapshotter)
    const { result } = await client.execute('diff.apply', { subject, payload: { digest: parseDigest(digest) } })
    if (format === 'table') process.stdout.write(`${result.diffId}\n`)
    else printJson(result, format)
    return 0
  },
})
