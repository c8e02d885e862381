import type { CommandPayload } from '../../client/index.ts'
import { PurserError } from '../../model/errors.ts'
import { HEALTH_ACTIONS } from '../../oci/health-actions.ts'
import { parseDuration } from '../../oci/size.ts'
import type { FlagsOf, OptionSpecs } from '../line/verb.ts'
import { wholeNumber } from './numbers.ts'
import { portProbe } from './pool.ts'

type Health = NonNullable<CommandPayload<'container.run'>['health']>

/** How it is told whether a container is well; what is left out is as its image says. */
export const healthOptions = {
  'health-cmd': { value: 'command', help: 'it is well when this command line, run in it by its shell, exits 0' },
  'health-http': {
    value: 'port[/path]',
    parse: (text: string) => portProbe('http', text),
    help: 'it is well when this answers 2xx or 3xx, in its own network: 8080/healthz',
  },
  'health-tcp': {
    value: 'port',
    parse: (text: string) => portProbe('tcp', text),
    help: 'it is well when this port takes a connection, in its own network',
  },
  'health-interval': { value: 'duration', parse: milliseconds, help: 'from one probe to the next; 30s by default' },
  'health-timeout': { value: 'duration', parse: milliseconds, help: 'that a probe has; 30s by default' },
  'health-retries': {
    value: 'n',
    parse: wholeNumber(1, 1_000_000),
    help: 'probes that fail one after the other before it is unhealthy; 3 by default',
  },
  'health-start-period': {
    value: 'duration',
    parse: parseDuration,
    help: 'at its start, in which failures do not count; 0s by default',
  },
  'health-start-interval': {
    value: 'duration',
    parse: milliseconds,
    help: 'from one probe to the next in that time; 5s by default',
  },
  'health-on-failure': {
    value: 'action',
    choices: HEALTH_ACTIONS,
    help: 'when it becomes unhealthy; none by default. After kill its restart policy decides',
  },
  'no-healthcheck': { help: "no check, also not the image's" },
} as const satisfies OptionSpecs

export function healthPayload(flags: FlagsOf<typeof healthOptions>): Health | undefined {
  const line = flags['health-cmd']
  const probes = [
    ...(line === undefined ? [] : [{ type: 'exec' as const, args: ['/bin/sh', '-c', line] }]),
    ...[flags['health-http'], flags['health-tcp']].filter((probe) => probe !== undefined),
  ]
  const given = Object.entries({
    probe: probes[0],
    intervalMs: flags['health-interval'],
    timeoutMs: flags['health-timeout'],
    retries: flags['health-retries'],
    startPeriodMs: flags['health-start-period'],
    startIntervalMs: flags['health-start-interval'],
    onFailure: flags['health-on-failure'],
  }).filter(([, value]) => value !== undefined)
  if (probes.length > 1 || (flags['no-healthcheck'] && given.length > 0)) {
    throw new PurserError('invalid_argument', 'these options ask for different health checks', {
      remedy: 'give one of --health-cmd, --health-http, --health-tcp and --no-healthcheck',
    })
  }
  if (flags['no-healthcheck']) return { disabled: true }
  return given.length === 0 ? undefined : Object.fromEntries(given)
}

function milliseconds(text: string): number {
  const ms = parseDuration(text)
  if (ms > 0) return ms
  throw new PurserError('invalid_argument', `${JSON.stringify(text)} is no time to wait`, {
    remedy: 'write 30s or 500ms',
  })
}
