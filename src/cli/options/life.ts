import type { CommandPayload } from '../../client/index.ts'
import type { FlagsOf, OptionSpecs } from '../line/verb.ts'
import { wholeNumber } from './numbers.ts'

/** How a container lives: what `run`, `create` and `pool create` share. */
export const lifeOptions = {
  init: { help: 'an init as the first process: it reaps and forwards signals' },
  'stop-timeout': {
    value: 'seconds',
    parse: wholeNumber(0, 86_400),
    help: 'from the stop signal to SIGKILL, where stop names no other; 10 by default',
  },
} as const satisfies OptionSpecs

/** What of it a command line asks for. */
export function lifePayload(flags: FlagsOf<typeof lifeOptions>): Partial<CommandPayload<'container.run'>> {
  const timeout = flags['stop-timeout']
  return { init: flags.init || undefined, stopTimeoutMs: timeout === undefined ? undefined : timeout * 1000 }
}
