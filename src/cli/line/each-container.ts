import type { CommandPayload, CommandType } from '../../client/index.ts'
import { each } from './each.ts'
import { type ArgumentSpec, type Call, defineVerb, type OptionSpecs, type Verb } from './verb.ts'

const args: readonly ArgumentSpec[] = [{ name: 'container', count: '1-', completes: 'container' }]

/** A verb that has one command carried out for each container it is given, and prints what it was given. */
export const defineContainersVerb = <const O extends OptionSpecs, T extends CommandType>(
  type: T,
  options: O,
  payloadOf: (flags: Call<O>['flags']) => CommandPayload<T>,
): Verb<O> =>
  defineVerb({
    args,
    options,
    run: ({ client, flags, args, debug }) => {
      const payload = payloadOf(flags)
      return each(args, debug, async (name) => {
        const { id } = await client.container(name)
        await client.execute(type, { subject: id, payload })
        return name
      })
    },
  })
