import type { StopPhase } from '../commands/task.ts'
import type { ContainerOptions } from '../oci/spec/container-options.ts'
import { handlersFor, type Job } from '../queue/handler.ts'

/** How long the phases of a stop have until the next one follows, in milliseconds; the first has what its caller gives. */
export type StopDeadlines = Readonly<Record<Exclude<StopPhase, 'ask'>, number>>

/** What a saga knows of the host. */
export interface SagaEffects {
  /** The runtime of a container for which none is named. */
  defaultRuntime(options: ContainerOptions): string
  /** @throws PurserError when containers are not started with this runtime, with the reason */
  requireRuntime(name: string): Promise<void>
  /** The network of a container for which none is named. */
  defaultNetwork: string
  stopDeadlines: StopDeadlines
}

/** A composite command: plain code over steps, each a command of its own. It touches nothing but the queue. */
export type Saga<S, P> = Job<S, P, SagaEffects>

export const defineSaga = handlersFor<SagaEffects>()

/** Undone even when the command was cancelled, but not for ever. */
export const UNDO_MS = 60_000

/** Waits for two steps of which neither needs the other, so that neither is under way when one has failed. */
export async function bothSteps(...steps: readonly [Promise<unknown>, Promise<unknown>]): Promise<void> {
  for (const settled of await Promise.allSettled(steps)) if (settled.status === 'rejected') throw settled.reason
}

/** Registers a step that takes back an earlier one, should the saga fail. */
export function undoStep(
  saga: Saga<unknown, unknown>,
  undo: AsyncDisposableStack,
  name: string,
  request: Parameters<Saga<unknown, unknown>['step']>[1],
): void {
  undo.defer(async () => {
    try {
      await saga.step(name, request, AbortSignal.timeout(UNDO_MS))
    } catch (err) {
      saga.logger.warn({ err, step: name }, 'a failed command could not be undone completely')
    }
  })
}
