import type { StoredEvent } from '../model/event.ts'

/** A fold of the log that is stored: one file beside its siblings, and a line in index.ts. */
export interface Projection<Store extends ProjectionStore = ProjectionStore> {
  readonly name: string
  /** Raised when what is stored changes its meaning: a rebuild follows. */
  readonly schema: number
  /** The types that it folds; all of them when left out. */
  readonly folds?: readonly string[]
  /** Opens its store in a directory of its own, which is empty at first. */
  open(dir: string): Promise<Store>
}

export interface ProjectionStore extends AsyncDisposable {
  /** Position of the last event that is folded in; 0 in an empty store. */
  readonly checkpoint: number
  /**
   * Stores the effect of these events and the new checkpoint, both or neither.
   *
   * @param checkpoint position up to which the log has been read: that of the last event, or of a later one it does not fold
   * @throws FoldError for the event that could not be folded
   */
  fold(events: readonly StoredEvent[], checkpoint: number): void
}

/** Which event a projection failed at. */
export class FoldError extends Error {
  readonly position: number
  constructor(position: number, cause: unknown) {
    super(`event ${position} could not be folded`, { cause })
    this.name = 'FoldError'
    this.position = position
  }
}

export const defineProjection = <Store extends ProjectionStore>(projection: Projection<Store>): Projection<Store> =>
  projection
