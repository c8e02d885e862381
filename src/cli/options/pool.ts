import type { CommandPayload } from '../../client/index.ts'
import { PurserError } from '../../model/errors.ts'
import type { OptionSpecs } from '../line/verb.ts'
import { wholeNumber } from './numbers.ts'

type Probe = NonNullable<CommandPayload<'pool.create'>['ready']>
type PortProbe = Extract<Probe, { type: 'http' | 'tcp' }>

/** What `pool create` and `pool scale` share. */
export const sizingOptions = {
  max: { value: 'n', parse: wholeNumber(0, 1000), help: 'keep up to so many ready, by the rate of claims' },
  'hit-ratio': { value: 'share', parse: share, help: 'claims that shall find one ready: 0.99' },
} as const satisfies OptionSpecs

export const sizeOf = wholeNumber(0, 1000)

export const sizing = (min: number, flags: { max: number | undefined; 'hit-ratio': number | undefined }) => ({
  min,
  ...(flags.max === undefined ? {} : { max: flags.max }),
  ...(flags['hit-ratio'] === undefined ? {} : { hitRatio: flags['hit-ratio'] }),
})

function share(text: string): number {
  const value = Number(text)
  if (text !== '' && value > 0 && value < 1) return value
  throw new PurserError('invalid_argument', `${JSON.stringify(text)} is no share of all claims`, {
    remedy: 'write a number between 0 and 1, such as 0.99',
  })
}

/** `file:/ready`, `tcp:8080`, `http:8080/healthz`, `log:TEXT`, `exec:PROGRAM [ARGUMENT ...]` or `wait`. */
export function probeWord(text: string): Probe {
  const [, type = '', rest = ''] = /^([a-z]+):?(.*)$/s.exec(text) ?? []
  if (type === 'wait' && rest === '') return { type }
  if (type === 'file' && rest.startsWith('/')) return { type, path: rest }
  if (type === 'log' && rest !== '') return { type, text: rest }
  if (type === 'exec' && rest.trim() !== '') return { type, args: rest.trim().split(/\s+/) }
  const served = type === 'tcp' || type === 'http' ? servedAt(type, rest) : undefined
  if (served) return served
  throw new PurserError('invalid_argument', `${JSON.stringify(text)} is no readiness probe`, {
    remedy: 'write file:/PATH, tcp:PORT, http:PORT/PATH, log:TEXT, exec:PROGRAM or wait',
  })
}

function servedAt(type: PortProbe['type'], text: string): PortProbe | undefined {
  const [, digits, path] = /^(\d{1,5})(\/.*)?$/.exec(text) ?? []
  const port = Number(digits)
  if (digits === undefined || port < 1 || port > 65_535) return undefined
  if (type === 'http') return { type, port, path: path ?? '/' }
  return path === undefined ? { type, port } : undefined
}

/** A port for a probe: `8080`, and for HTTP `8080/healthz`. */
export function portProbe(type: PortProbe['type'], text: string): PortProbe {
  const probe = servedAt(type, text)
  if (probe) return probe
  const what = type === 'http' ? 'a port and a path' : 'a port'
  throw new PurserError('invalid_argument', `${JSON.stringify(text)} is not ${what}`, {
    remedy: type === 'http' ? 'write one such as 8080/healthz' : 'write one from 1 to 65535',
  })
}
