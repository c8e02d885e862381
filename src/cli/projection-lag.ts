import { PurserError } from '../model/errors.ts'
import type { ProjectionStatus } from '../projections/runner.ts'
import { defineVerb } from './line/verb.ts'
import { wholeNumber } from './options/numbers.ts'
import { print } from './terminal/output.ts'

const BEHIND = 1

export const verb = defineVerb({
  args: [{ name: 'projection', count: '0-' }],
  options: {
    max: {
      value: 'events',
      help: `end with status ${BEHIND} when one of them is further behind, or stopped`,
      parse: wholeNumber(0, 1e15),
    },
  },
  async run({ client, args, flags, format }) {
    const { items } = await client.get<{ items: ProjectionStatus[] }>('/v1/projections')
    const unknown = args.find((name) => !items.some((item) => item.name === name))
    if (unknown !== undefined)
      throw new PurserError('not_found', `there is no projection ${JSON.stringify(unknown)}`, {
        remedy: `known are ${items.map(({ name }) => name).join(', ')}`,
      })
    const shown = items.filter(({ name }) => args.length === 0 || args.includes(name))
    print(
      shown.map(({ name, status, checkpoint, lag }) => ({ name, status, head: checkpoint + lag, checkpoint, lag })),
      format,
      {
        NAME: ({ name }) => name,
        STATUS: ({ status }) => status,
        CHECKPOINT: ({ checkpoint }) => String(checkpoint),
        HEAD: ({ head }) => String(head),
        LAG: ({ lag }) => String(lag),
      },
    )
    const { max } = flags
    return max !== undefined && shown.some(({ lag, status }) => lag > max || status === 'stopped') ? BEHIND : 0
  },
})
