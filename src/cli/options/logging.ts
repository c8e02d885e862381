import type { CommandPayload } from '../../client/index.ts'
import { PurserError } from '../../model/errors.ts'
import { parseBytes } from '../../oci/size.ts'
import type { FlagsOf, OptionSpecs } from '../line/verb.ts'
import { wholeNumber } from './numbers.ts'

type Logging = NonNullable<CommandPayload<'container.run'>['logging']>

const DRIVERS: Readonly<Record<string, NonNullable<Logging['driver']>>> = {
  cri: 'cri',
  fluentd: 'fluentd',
  journald: 'journald',
  'json-file': 'cri',
  local: 'cri',
  none: 'none',
  syslog: 'syslog',
}

/** @see syslog(3) */
const FACILITIES =
  'kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp audit alert clock local0 local1 local2 local3 local4 ' +
  'local5 local6 local7'

/** What `run` and `create` say of a container's log. */
export const loggingOptions = {
  'log-driver': {
    value: 'driver',
    choices: Object.keys(DRIVERS),
    help: 'where its output goes, besides those who attach: kept here, in CRI format, unless none; and sent',
  },
  'log-opt': {
    value: 'key=value',
    many: true,
    parse: logOption,
    help: 'max-size, max-file, max-rate, tag, syslog-address, syslog-facility, fluentd-address, journald-address',
  },
} as const satisfies OptionSpecs

export function loggingPayload(flags: FlagsOf<typeof loggingOptions>): Logging | undefined {
  const driver = DRIVERS[flags['log-driver'] ?? '']
  const given: Logging & { of?: string } = Object.assign({}, ...flags['log-opt'])
  const { of, ...logging } = given
  if (of !== undefined && of !== driver) {
    throw new PurserError('invalid_argument', `--log-opt ${of}-… is of the driver ${of}`, {
      remedy: `give --log-driver ${of}`,
    })
  }
  const all = { ...(driver === undefined ? {} : { driver }), ...logging }
  return Object.keys(all).length === 0 ? undefined : all
}

/** One of docker's, or of ours; `of` says which driver it is for. */
function logOption(text: string): Logging & { of?: string } {
  const at = text.indexOf('=')
  const [key, value] = [text.slice(0, Math.max(0, at)), text.slice(at + 1)]
  switch (at > 0 ? key : '') {
    case 'max-size':
      return { maxBytes: parseBytes(value) }
    case 'max-file':
      return { files: wholeNumber(1, 1000)(value) }
    case 'max-rate':
      return { bytesPerSecond: parseBytes(value) }
    case 'tag':
      return { tag: value }
    case 'syslog-address':
    case 'journald-address':
    case 'fluentd-address':
      return { of: key.slice(0, key.indexOf('-')), sendTo: addressOf(key, value) }
    case 'syslog-facility':
      return { of: 'syslog', facility: facilityOf(value) }
    case 'syslog-format':
      if (value === 'rfc5424' || value === 'rfc5424micro') return { of: 'syslog' }
      throw new PurserError('invalid_argument', `there is no format ${JSON.stringify(value)}`, {
        remedy: 'write rfc5424',
      })
  }
  throw new PurserError('invalid_argument', `${JSON.stringify(text)} is no option of a log`, {
    remedy: `write ${loggingOptions['log-opt'].help.replaceAll(',', ' or')}, with = and a value`,
  })
}

/** fluentd's may be `host:port` alone, journald's a path. */
function addressOf(key: string, value: string): string {
  if (value.includes('://')) return value
  return key === 'journald-address' ? `unixgram://${value}` : `tcp://${value}`
}

function facilityOf(text: string): number {
  const at = /^\d{1,2}$/.test(text) ? Number(text) : FACILITIES.split(' ').indexOf(text)
  if (at >= 0 && at <= 23) return at
  throw new PurserError('invalid_argument', `there is no facility ${JSON.stringify(text)}`, {
    remedy: `write one of ${FACILITIES}`,
  })
}
