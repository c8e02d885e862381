import { ERROR_CODES } from '../model/errors.ts'
import { defineVerb } from './line/verb.ts'
import { print, printJson } from './terminal/output.ts'

interface Checked {
  name: string
  shim?: string
  shimVersion?: string
  binary?: string
  version?: string
  package?: string
  taskApi?: number
  features: string[]
  verdict: string
  reasons: string[]
  remedy?: string
  checkpoints?: { works: true; criu: string; version: string } | { works: false; reason: string; remedy: string }
  trial?: { protocol: string; taskApi: number; answeredMs: number }
}

export const verb = defineVerb({
  args: [{ name: 'runtime', count: '1' }],
  options: {},
  async run({ client, format, args: [name = ''] }) {
    const checked = await client.post<Checked>(`/v1/runtimes/${encodeURIComponent(name)}/check`)
    const { shim, shimVersion, binary, features, verdict, reasons, remedy, trial, checkpoints } = checked
    const rows: [string, string | undefined][] = [
      ['shim', shimVersion === undefined ? shim : `${shim} ${shimVersion}`],
      ['runtime', binary === undefined ? undefined : `${binary} ${checked.package ?? checked.version ?? ''}`],
      ['features', features.length === 0 ? undefined : features.join(' ')],
      ['speaks', trial && `task API v${trial.taskApi} by ${trial.protocol}, after ${trial.answeredMs} ms`],
      ['checkpoints', checkpoints && told(checkpoints)],
      ['verdict', verdict],
      ...reasons.map((reason): [string, string] => ['reason', reason]),
      ['remedy', remedy],
    ]
    const shown = rows.flatMap(([what, text]) => (text === undefined ? [] : [{ what, text }]))
    if (format === 'table') print(shown, format, { WHAT: ({ what }) => what, FOUND: ({ text }) => text })
    else printJson(checked, format)
    return verdict === 'missing' || verdict === 'refused' ? ERROR_CODES.failed_precondition.exit : 0
  },
})

const told = (checkpoints: NonNullable<Checked['checkpoints']>): string =>
  checkpoints.works
    ? `work, by ${checkpoints.criu} ${checkpoints.version}`
    : `do not work: ${checkpoints.reason}; ${checkpoints.remedy}`
