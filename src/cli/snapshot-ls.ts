import { defineVerb } from './line/verb.ts'
import { print } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: {},
  async run({ client, format }) {
    print(await Array.fromAsync(client.list('snapshots')), format, {
      SNAPSHOTTER: ({ snapshotter }) => snapshotter,
      KEY: ({ key }) => key,
      STATUS: ({ status }) => status,
      PARENT: (snapshot) => ('parent' in snapshot ? (snapshot.parent ?? '') : ''),
    })
    return 0
  },
})
