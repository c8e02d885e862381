import { defineVerb } from './line/verb.ts'
import { print } from './terminal/output.ts'

interface Listed {
  name: string
  isDefault: boolean
  type?: string
  shim?: string
  binary?: string
  version?: string
  package?: string
  shimVersion?: string
  taskApi?: number
  verdict: string
  reasons: string[]
}

export const verb = defineVerb({
  args: [],
  options: {},
  async run({ client, format }) {
    const { items } = await client.get<{ items: Listed[] }>('/v1/runtimes')
    print(items, format, {
      NAME: ({ name, isDefault }) => (isDefault ? `${name} (default)` : name),
      TYPE: ({ type = '' }) => type,
      PATH: ({ binary, shim = '' }) => binary ?? shim,
      VERSION: (each) => each.package ?? each.version ?? '',
      SHIM: ({ shimVersion = '' }) => shimVersion,
      API: ({ taskApi }) => (taskApi === undefined ? '' : `v${taskApi}`),
      VERDICT: ({ verdict }) => verdict,
      REASON: ({ reasons: [reason = '', ...more] }) =>
        more.length === 0 ? reason : `${reason} (and ${more.length} more)`,
    })
    return 0
  },
})
