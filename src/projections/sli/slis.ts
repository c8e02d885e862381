import { expose, exposeObjectives } from './exposition.ts'
import type { Slo } from './objectives.ts'
import type { Observations } from './observations.ts'
import { type ReportRequest, reportOf, type SliReport } from './report.ts'
import type { SliStore } from './sli.ts'

/** The indicators of a node, read from what was folded and what was observed. */
export class Slis {
  readonly #folded: () => SliStore
  readonly #observed: Observations
  readonly #slo: Slo

  /** @param folded the store that answers now: a rebuild replaces it */
  constructor(folded: () => SliStore, observed: Observations, slo: Slo) {
    this.#folded = folded
    this.#observed = observed
    this.#slo = slo
  }

  async report(request: ReportRequest): Promise<SliReport> {
    await this.#observed.take()
    return reportOf(request, { log: this.#folded().buckets, observed: this.#observed.buckets }, this.#slo)
  }

  /** As text for a scraper. @param exemplars with traces, which OpenMetrics alone has a place for */
  async metrics({ exemplars }: { exemplars: boolean }): Promise<string> {
    await this.#observed.take()
    const folded = this.#folded()
    const log = folded.buckets.total()
    return (
      expose(log, exemplars ? folded.exemplars.all() : new Map()) +
      exposeObjectives({ log, observed: this.#observed.buckets.total() }, this.#slo)
    )
  }
}
