import { join } from 'node:path'
import { uuidv7 } from '../../model/ids.ts'
import type { CheckpointSupport } from '../../shim/checkpoint-support.ts'
import type { RuntimeReport } from '../../shim/runtime-report.ts'
import type { ShimProbe, Shims } from '../../shim/shims.ts'

/** A runtime as it is found, and whether it is the one that containers get for which none is named. */
export type RuntimeView = RuntimeReport & { isDefault: boolean }

/** What a runtime said when it was tried; where it failed: how. */
export type RuntimeTrial = RuntimeView & { trial?: ShimProbe; checkpoints?: CheckpointSupport }

/** Answers about runtimes. */
export class RuntimeInsight {
  readonly #shims: Shims
  readonly #usual: string
  readonly #dir: string

  /** @param dir for what is tried; short, for there are sockets below it */
  constructor(shims: Shims, usual: string, dir: string) {
    this.#shims = shims
    this.#usual = usual
    this.#dir = dir
  }

  /** Those that have a name. */
  async list(): Promise<RuntimeView[]> {
    const all = await this.#shims.reports.all()
    return all.map((report) => this.#view(report))
  }

  /** Judges one, and starts its shim, unless it is not to be used anyway. @throws PurserError when the shim fails */
  async check(name: string, signal: AbortSignal): Promise<RuntimeTrial> {
    const view = this.#view(await this.#shims.reports.of(name))
    if (view.verdict === 'missing' || view.verdict === 'refused') return view
    const checkpoints = await this.#shims.reports.checkpoints(name)
    return { ...view, checkpoints, trial: await this.#shims.probe(name, join(this.#dir, `try-${uuidv7()}`), signal) }
  }

  #view(report: RuntimeReport): RuntimeView {
    return { ...report, isDefault: report.name === this.#usual }
  }
}
