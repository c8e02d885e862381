import { expose, exposeObjectives } from './exposition.ts'
import type { Slo } from './objectives.ts'
import type { Observations } from './observations.ts'
import { type ReportRequest, reportOf, type SliReport } from './report.ts'
import type { SliStore } from './sli.ts'

/** The projection; a rebuild replaces its store. */
interface Folded {
  readonly store: SliStore
  readonly isCurrent: boolean
}

/** The indicators of a node, read from what was folded and what was observed. */
export class Slis {
  readonly #folded: Folded
  readonly #observed: Observations
  readonly #slo: Slo

  constructor(folded: Folded, observed: Observations, slo: Slo) {
    this.#folded = folded
    this.#observed = observed
    this.#slo = slo
  }

  async report(request: ReportRequest): Promise<SliReport> {
    await this.#observed.take()
    return reportOf(request, { log: this.#folded.store.buckets, observed: this.#observed.buckets }, this.#slo)
  }

  /** As text for a scraper. @param exemplars with traces, which OpenMetrics alone has a place for */
  async metrics({ exemplars }: { exemplars: boolean }): Promise<string> {
    await this.#observed.take()
    const { store, isCurrent } = this.#folded
    const observed = this.#observed.buckets.total()
    // While the log is folded anew counters would begin at 0, and all that ever happened look as if it happened now.
    if (!isCurrent) return exposeObjectives({ observed }, this.#slo)
    const log = store.buckets.total()
    return expose(log, exemplars ? store.exemplars.all() : new Map()) + exposeObjectives({ log, observed }, this.#slo)
  }
}
