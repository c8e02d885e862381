import type { ProjectView } from '../client/index.ts'
import { defineVerb } from './line/verb.ts'
import { age, print } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: {},
  async run({ client, format }) {
    const rows: ProjectView[] = []
    for await (const each of client.list('projects')) rows.push(each)
    print(rows, format, {
      PROJECT: ({ name }) => name,
      STATUS: ({ status, error }) => (status === 'failed' && error !== undefined ? `failed: ${error}` : status),
      CONTAINERS: ({ containers }) => Object.keys(containers).join(', '),
      CREATED: ({ createdAt }) => age(createdAt),
    })
    return 0
  },
})
