import { PurserClient } from '../../client/index.ts'
import { randomBytes } from '../../client/random.ts'
import { newTraceparent, parseTraceparent } from '../../model/traceparent.ts'
import type { Format } from '../terminal/output.ts'
import { environmentVariable } from './environment.ts'
import type { FlagsOf, OptionSpecs } from './verb.ts'

/** Options of every verb, before it or after it. A variable that is set but empty counts as none. */
export const globals = {
  namespace: {
    short: 'n',
    value: 'name',
    help: 'namespace (PURSER_NAMESPACE); default without either',
    completes: 'namespace',
  },
  address: {
    value: 'socket',
    help: 'socket of the daemon (PURSER_ADDRESS); /run/purser/purser.sock without either',
    completes: 'file',
  },
  format: { value: 'format', help: 'of what is printed', choices: ['table', 'json', 'ndjson', 'csv'] },
  debug: { help: 'more words when something goes wrong' },
  help: { short: 'h', help: 'this' },
} as const satisfies OptionSpecs

export type Globals = FlagsOf<typeof globals>

/** What the global options come to. */
export function contextOf(given: Partial<Globals>) {
  const namespaceGiven = given.namespace ?? (environmentVariable('PURSER_NAMESPACE') || undefined)
  const address = given.address ?? (environmentVariable('PURSER_ADDRESS') || undefined)
  const traced = environmentVariable('TRACEPARENT')
  const client = new PurserClient({
    traceparent: traced !== undefined && parseTraceparent(traced) ? traced : newTraceparent(randomBytes(24)),
    ...(address === undefined ? {} : { socketPath: address }),
    ...(namespaceGiven === undefined ? {} : { namespace: namespaceGiven }),
  })
  return { client, format: (given.format ?? 'table') as Format, debug: given.debug ?? false, namespaceGiven }
}
