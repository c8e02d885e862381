import { PurserError } from '../model/errors.ts'
import { each } from './line/each.ts'
import { defineVerb } from './line/verb.ts'

export const verb = defineVerb({
  args: [{ name: 'container', count: '1-', completes: 'container' }],
  options: {},
  run: ({ client, args, debug }) =>
    each(args, debug, async (name) => {
      const { id, labels } = await client.container(name)
      const subject = labels['purser.io/pool']
      if (subject === undefined) {
        throw new PurserError('failed_precondition', `container ${id} is of no pool`, { remedy: `purser rm ${id}` })
      }
      await client.execute('pool.release', { subject, payload: { id } })
      return id
    }),
})
