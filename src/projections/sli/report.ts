import { z } from 'zod'
import type { Buckets, Tally } from './buckets.ts'
import { type Objective, objectives, quantile, type Slo } from './objectives.ts'

export const BURN_WINDOWS = { '5m': 300, '30m': 1800, '1h': 3600, '6h': 21_600, '3d': 259_200 } as const
type BurnWindow = keyof typeof BURN_WINDOWS

const number = z.number().nullable()

export const indicatorSchema = z.strictObject({
  name: z.string(),
  of: z.string(),
  unit: z.enum(['ratio', 'seconds', 'per_hour']),
  objective: z.enum(['at_least', 'at_most']),
  target: z.number(),
  actual: number.describe('null: nothing happened that it could be told from'),
  isMet: z.boolean().nullable(),
  events: z.strictObject({ total: z.number(), bad: z.number() }).optional(),
  budgetLeft: number.describe('share of what may go wrong in the window; below 0 when more did'),
  burn: z
    .strictObject({ '5m': number, '30m': number, '1h': number, '6h': number, '3d': number })
    .optional()
    .describe('1: all of the budget would be used in the window; null: without end, as there is none'),
})

export const reportSchema = z.strictObject({
  from: z.string().describe('RFC 3339; of the minute that it begins with'),
  to: z.string().describe('RFC 3339; the end of the minute that was asked for'),
  namespace: z.string().optional(),
  items: z.array(indicatorSchema),
})

export type Indicator = z.output<typeof indicatorSchema>
export type SliReport = z.output<typeof reportSchema>

export interface ReportRequest {
  /** Unix time in milliseconds; the minute it is in is the last one. */
  atMs: number
  windowMs: number
  /** Indicators of the whole node are left out. */
  namespace?: string | undefined
}

type Sources = Readonly<Record<Objective['source'], Buckets>>

/** What happened in times that all end at the same minute. */
class Window {
  readonly #sources: Sources
  readonly #namespace: string | undefined
  readonly #tallies = new Map<string, Tally>()
  /** Unix times in seconds, whole minutes. */
  readonly from: number
  readonly to: number

  constructor({ atMs, windowMs, namespace }: ReportRequest, sources: Sources) {
    this.#sources = sources
    this.#namespace = namespace
    this.to = Math.floor(atMs / 60_000) * 60 + 60
    this.from = this.#since(windowMs / 1000)
  }

  get hours(): number {
    return (this.to - this.from) / 3600
  }

  /** Of all of it, or of its last seconds. */
  tally(source: Objective['source'], seconds?: number): Tally {
    const from = seconds === undefined ? this.from : this.#since(seconds)
    const key = `${source} ${from}`
    const known = this.#tallies.get(key) ?? this.#sources[source].between(from, this.to, this.#namespace)
    this.#tallies.set(key, known)
    return known
  }

  latest(source: Objective['source'], series: string): number | null {
    return this.#sources[source].latest(series, this.to) ?? null
  }

  #since(seconds: number): number {
    return Math.max(0, this.to - Math.max(60, Math.ceil(seconds / 60) * 60))
  }
}

/** @param sources of what was folded, and of what was observed */
export function reportOf(request: ReportRequest, sources: Sources, slo: Slo): SliReport {
  const window = new Window(request, sources)
  const { namespace } = request
  return {
    from: new Date(window.from * 1000).toISOString(),
    to: new Date(window.to * 1000).toISOString(),
    ...(namespace === undefined ? {} : { namespace }),
    items: objectives
      .filter(({ source }) => namespace === undefined || source === 'log')
      .map((objective) => ({ name: objective.name, of: objective.of, ...measured(objective, window, slo) })),
  }
}

type Measured = Omit<Indicator, 'name' | 'of'>

function measured(objective: Objective, window: Window, slo: Slo): Measured {
  switch (objective.kind) {
    case 'ratio':
      return measuredRatio(objective, window, slo)
    case 'rate':
      return measuredRate(objective, window, slo)
    case 'level': {
      const target = objective.max(slo)
      const actual = window.latest(objective.source, objective.series)
      const isMet = actual === null ? null : actual <= target
      return { unit: 'ratio', objective: 'at_most', target, actual, isMet, budgetLeft: null }
    }
  }
}

function measuredRatio(objective: Extract<Objective, { kind: 'ratio' }>, window: Window, slo: Slo): Measured {
  const { source, p95 } = objective
  const budget = objective.budget(slo)
  const spentIn = (tally: Tally): number | null => {
    const { bad, total } = objective.events(tally, slo)
    return total === 0 ? 0 : shareOf(bad / total, budget)
  }
  const tally = window.tally(source)
  const events = objective.events(tally, slo)
  const common = {
    events,
    isMet: events.total === 0 ? null : events.bad / events.total <= budget,
    budgetLeft: left(spentIn(tally)),
    burn: burnOf((seconds) => spentIn(window.tally(source, seconds))),
  }
  if (p95 === undefined) {
    const actual = events.total === 0 ? null : 1 - events.bad / events.total
    return { ...common, unit: 'ratio', objective: 'at_least', target: 1 - budget, actual }
  }
  const totals = tally.get(p95.series)
  const actual = totals === undefined ? null : quantile(totals, p95.family, 0.95)
  return { ...common, unit: 'seconds', objective: 'at_most', target: p95.seconds(slo), actual }
}

function measuredRate(objective: Extract<Objective, { kind: 'rate' }>, window: Window, slo: Slo): Measured {
  const { source } = objective
  const target = objective.perHour(slo)
  const actual = objective.count(window.tally(source)) / window.hours
  return {
    unit: 'per_hour',
    objective: 'at_most',
    target,
    actual,
    isMet: actual <= target,
    budgetLeft: left(shareOf(actual, target)),
    burn: burnOf((seconds) => shareOf(objective.count(window.tally(source, seconds)) / (seconds / 3600), target)),
  }
}

const burnOf = (of: (seconds: number) => number | null): Record<BurnWindow, number | null> =>
  Object.fromEntries(Object.entries(BURN_WINDOWS).map(([name, seconds]) => [name, of(seconds)])) as Record<
    BurnWindow,
    number | null
  >

/** How much of an allowance something is; null when there is none of which it could be a share. */
function shareOf(what: number, allowed: number): number | null {
  if (what === 0) return 0
  return allowed === 0 ? null : what / allowed
}

const left = (spent: number | null): number => (spent === null ? -1 : 1 - spent)
