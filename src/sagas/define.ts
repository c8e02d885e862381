import { handlersFor, type Job } from '../queue/handler.ts'

/** A composite command: plain code over steps, each a command of its own. It touches nothing but the queue. */
export type Saga<S, P> = Job<S, P, unknown>

export const defineSaga = handlersFor<unknown>()

/** Undone even when the command was cancelled, but not for ever. */
export const UNDO_MS = 60_000

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
