import { sandboxes as sandboxKind } from '../../../commands/sandbox-record.ts'
import type { View } from '../../../model/aggregate.ts'
import { errorCodeOf, PurserError } from '../../../model/errors.ts'
import type { SandboxPlatform } from '../../../shim/sandbox-api.ts'
import { metricsJson } from '../../../shim/task-stats.ts'
import type { LiveSandbox, LiveSandboxes } from './live-sandboxes.ts'

/** What the shim of a sandbox says, asked just now. */
export interface SandboxTold {
  shimPid: number
  /** Milliseconds. */
  answeredMs: number
  /** Of what follows a shim tells that keeps the sandbox itself: its own words. */
  state?: string
  info?: Readonly<Record<string, string>>
  platform?: SandboxPlatform
  metrics?: ReturnType<typeof metricsJson>
}

/** Answers about sandboxes as they are now. */
export class SandboxInsight {
  readonly #view: View
  readonly #sandboxes: LiveSandboxes

  constructor(view: View, sandboxes: LiveSandboxes) {
    this.#view = view
    this.#sandboxes = sandboxes
  }

  /** @throws PurserError not_found for none, failed_precondition for one that has no shim, or as that does not answer */
  async ask(namespace: string, id: string, signal: AbortSignal): Promise<SandboxTold> {
    const state = this.#view.get(sandboxKind, namespace, id)
    if (state.status === 'absent') {
      throw new PurserError('not_found', `sandbox ${id} is not in namespace ${namespace}`, {
        remedy: 'purser sandbox ls',
      })
    }
    const live = this.#sandboxes.get(namespace, id)
    if (!live) {
      const remedy = state.status === 'stopped' ? `purser sandbox start ${id}` : 'try again shortly'
      throw new PurserError('failed_precondition', `sandbox ${id} is ${state.status}: no shim of it is connected`, {
        remedy,
      })
    }
    const begunAt = performance.now()
    const { shimPid } = await live.shim.connect(signal)
    const answeredMs = Math.round(performance.now() - begunAt)
    return { shimPid, answeredMs, ...(live.sandboxer === 'shim' ? await told(live, signal) : {}) }
  }
}

async function told({ shim: { sandbox } }: LiveSandbox, signal: AbortSignal) {
  await sandbox.ping(signal)
  const { state, info } = await sandbox.status(signal)
  const platform = await ifServed(sandbox.platform(signal))
  const raw = await ifServed(sandbox.metrics(signal))
  const metrics = raw === undefined ? undefined : await ifServed(Promise.try(() => metricsJson(raw)))
  return {
    ...{ state, info },
    ...(platform === undefined ? {} : { platform }),
    ...(metrics === undefined ? {} : { metrics }),
  }
}

/** Not every shim has all of it, nor in a form that is known here. */
async function ifServed<T>(answer: Promise<T>): Promise<T | undefined> {
  return await answer.catch((error: unknown) => {
    if (errorCodeOf(error) === 'unimplemented') return undefined
    throw error
  })
}
