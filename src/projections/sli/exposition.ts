import type { Tally } from './buckets.ts'
import { type Exemplar, exemplarKey } from './exemplars.ts'
import { type Family, type FamilyName, families, seriesOf } from './families.ts'
import { type Objective, objectives, type Slo } from './objectives.ts'

/**
 * The families as /metrics has them: counted since the log begins, not since the daemon started.
 *
 * @param exemplars of their buckets; only OpenMetrics knows them
 * @see prometheus.io, "Exposition formats", text-based format; OpenMetrics 1.0, exemplars
 */
export function expose(tally: Tally, exemplars: ReadonlyMap<string, Exemplar>): string {
  const shown = Object.entries(families) as [FamilyName, Family][]
  return shown.map(([name, family]) => textOf(name, family, tally, exemplars)).join('')
}

function textOf(name: FamilyName, family: Family, tally: Tally, exemplars: ReadonlyMap<string, Exemplar>): string {
  const { metric, help, labels, buckets, from = [] } = family
  const lines = [`# HELP ${metric} ${help}`, `# TYPE ${metric} ${buckets === undefined ? 'counter' : 'histogram'}`]
  const series = new Set(from.map((values) => seriesOf(name, ...values)))
  for (const each of tally.keys()) if (each.split(' ', 1)[0] === name) series.add(each)
  for (const each of series) {
    const values = each.split(' ').slice(1)
    const totals = tally.get(each)
    const named = labels.map((label, index): [string, string] => [label, values[index] ?? ''])
    if (buckets === undefined) {
      lines.push(`${metric}${labelled(named)} ${totals?.count ?? 0}`)
      continue
    }
    let below = 0
    for (const [index, bound] of [...buckets, '+Inf'].entries()) {
      below += totals?.buckets[index] ?? 0
      const exemplar = exemplars.get(exemplarKey(each, index))
      const shown = exemplar
        ? ` # {trace_id="${exemplar.trace}"} ${exemplar.value} ${(exemplar.timeMs / 1000).toFixed(3)}`
        : ''
      lines.push(`${metric}_bucket${labelled([...named, ['le', String(bound)]])} ${below}${shown}`)
    }
    lines.push(`${metric}_sum${labelled(named)} ${totals?.sum ?? 0}`)
    lines.push(`${metric}_count${labelled(named)} ${totals?.count ?? 0}`)
  }
  return `${lines.join('\n')}\n`
}

/**
 * What the alert rules are made from: for each indicator what happened, what of it was bad, and what may be.
 *
 * @param tallies what comes from a source that is not there is left out
 */
export function exposeObjectives(tallies: Readonly<Partial<Record<Objective['source'], Tally>>>, slo: Slo): string {
  const events: string[] = []
  const bad: string[] = []
  const budgets: string[] = []
  const rates: string[] = []
  const levels: string[] = []
  for (const objective of objectives) {
    const label = labelled([['sli', objective.name]])
    const tally = tallies[objective.source]
    if (tally === undefined) continue
    if (objective.kind === 'ratio') {
      const counted = objective.events(tally, slo)
      events.push(`purser_sli_events_total${label} ${counted.total}`)
      bad.push(`purser_sli_bad_events_total${label} ${counted.bad}`)
      budgets.push(`purser_slo_budget_ratio${label} ${objective.budget(slo)}`)
    } else if (objective.kind === 'rate') {
      bad.push(`purser_sli_bad_events_total${label} ${objective.count(tally)}`)
      rates.push(`purser_slo_budget_per_hour${label} ${objective.perHour(slo)}`)
    } else levels.push(`purser_slo_level_max${label} ${objective.max(slo)}`)
  }
  return [
    ...described('purser_sli_events_total', 'counter', 'What an indicator is the share of.', events),
    ...described('purser_sli_bad_events_total', 'counter', 'What should not have happened.', bad),
    ...described('purser_slo_budget_ratio', 'gauge', 'Share of the events that may be bad.', budgets),
    ...described('purser_slo_budget_per_hour', 'gauge', 'Bad events that there may be in an hour.', rates),
    ...described('purser_slo_level_max', 'gauge', 'What a level may be at most.', levels),
    '',
  ].join('\n')
}

const described = (metric: string, type: string, help: string, lines: readonly string[]): string[] => [
  `# HELP ${metric} ${help}`,
  `# TYPE ${metric} ${type}`,
  ...lines,
]

const labelled = (pairs: readonly (readonly [label: string, value: string])[]): string =>
  pairs.length === 0 ? '' : `{${pairs.map(([label, value]) => `${label}="${value}"`).join(',')}}`
