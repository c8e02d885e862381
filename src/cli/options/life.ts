import type { CommandPayload } from '../../client/index.ts'
import { PurserError } from '../../model/errors.ts'
import type { FlagsOf, OptionSpecs } from '../line/verb.ts'
import { healthOptions, healthPayload } from './health.ts'
import { loggingOptions, loggingPayload } from './logging.ts'
import { wholeNumber } from './numbers.ts'

type Restart = NonNullable<CommandPayload<'container.update'>['restart']>

export const restartOption = {
  restart: {
    value: 'policy',
    parse: restartWord,
    help: 'start it again when it has ended: no, on-failure[:n], always or unless-stopped',
  },
} as const satisfies OptionSpecs

/** How a container lives: what `run`, `create` and `pool create` share. */
export const lifeOptions = {
  ...loggingOptions,
  ...restartOption,
  ...healthOptions,
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
  return {
    health: healthPayload(flags),
    init: flags.init || undefined,
    logging: loggingPayload(flags),
    restart: flags.restart,
    stopTimeoutMs: timeout === undefined ? undefined : timeout * 1000,
  }
}

/** `no`, `on-failure`, `on-failure:3`, `always` or `unless-stopped`. */
function restartWord(text: string): Restart {
  const [, policy, retries] = /^(no|on-failure|always|unless-stopped)(?::(\d{1,7}))?$/.exec(text) ?? []
  const retriesMax = retries === undefined ? undefined : Number(retries)
  const isSound = retriesMax === undefined || (policy === 'on-failure' && retriesMax > 0 && retriesMax <= 1_000_000)
  if (policy !== undefined && isSound) {
    return { policy: policy as Restart['policy'], ...(retriesMax === undefined ? {} : { retriesMax }) }
  }
  throw new PurserError('invalid_argument', `${JSON.stringify(text)} is no restart policy`, {
    remedy: 'write no, on-failure, on-failure:3 (1 to 1000000), always or unless-stopped',
  })
}
