import type { Indicator } from '../projections/sli/report.ts'
import { defineVerb } from './line/verb.ts'
import { print, printJson } from './terminal/output.ts'

export const verb = defineVerb({
  args: [],
  options: {
    window: { value: 'duration', help: 'how far back it looks; 30d without it' },
    at: { value: 'moment', help: 'a position, an RFC 3339 time or a duration (15m); now without it' },
  },
  async run({ client, flags, format, namespaceGiven: namespace }) {
    const query = { ...flags, ...(namespace === undefined ? {} : { namespace }) }
    const report = await client.indicators(query)
    if (format === 'json') printJson(report)
    else
      print(report.items, format, {
        SLI: ({ name }) => name,
        TARGET: ({ target, objective, unit }) => `${objective === 'at_least' ? '≥' : '≤'} ${shown(target, unit)}`,
        ACTUAL: ({ actual, unit }) => (actual === null ? '-' : shown(actual, unit)),
        MET: ({ isMet }) => (isMet === null ? '-' : isMet ? 'yes' : 'no'),
        EVENTS: ({ events }) => (events === undefined ? '' : String(events.total)),
        BUDGET: ({ budgetLeft }) => (budgetLeft === null ? '' : shown(budgetLeft, 'ratio')),
        '5m': (indicator) => burn(indicator, '5m'),
        '30m': (indicator) => burn(indicator, '30m'),
        '1h': (indicator) => burn(indicator, '1h'),
        '6h': (indicator) => burn(indicator, '6h'),
        '3d': (indicator) => burn(indicator, '3d'),
      })
    return 0
  },
})

function shown(value: number, unit: Indicator['unit']): string {
  if (unit === 'ratio') return `${Number((value * 100).toFixed(3))} %`
  if (unit === 'per_hour') return `${Number(value.toPrecision(3))}/h`
  return value < 1 ? `${Number((value * 1000).toPrecision(3))} ms` : `${Number(value.toPrecision(3))} s`
}

function burn({ burn }: Indicator, window: keyof NonNullable<Indicator['burn']>): string {
  if (burn === undefined) return ''
  const rate = burn[window]
  return rate === null ? '∞' : String(Number(rate.toPrecision(3)))
}
