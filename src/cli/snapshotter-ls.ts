import { defineVerb } from './line/verb.ts'
import { print } from './terminal/output.ts'

interface Listed {
  name: string
  kind: string
  status: string
  reason?: string
  snapshots: number
}

export const verb = defineVerb({
  args: [],
  options: {},
  async run({ client, format }) {
    const { items } = await client.get<{ items: Listed[] }>('/v1/snapshotters')
    print(items, format, {
      NAME: ({ name }) => name,
      KIND: ({ kind }) => kind,
      STATUS: ({ status }) => status,
      SNAPSHOTS: ({ snapshots }) => String(snapshots),
      REASON: ({ reason = '' }) => reason,
    })
    return 0
  },
})
