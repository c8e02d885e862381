import type { ProjectionStatus } from '../projections/runner.ts'
import { defineVerb } from './line/verb.ts'
import { print } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: {},
  async run({ client, format }) {
    const { items } = await client.get<{ items: ProjectionStatus[] }>('/v1/projections')
    print(items, format, {
      NAME: ({ name }) => name,
      SCHEMA: ({ schema }) => String(schema),
      STATUS: ({ status }) => status,
      CHECKPOINT: ({ checkpoint }) => String(checkpoint),
      LAG: ({ lag }) => String(lag),
      FAILURE: ({ failure }) => (failure === undefined ? '' : `event ${failure.position}: ${failure.message}`),
    })
    return 0
  },
})
