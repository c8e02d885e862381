import { EventEmitter } from 'node:events'

export interface LayerProgress {
  digest: string
  sizeBytes: number
  fetchedBytes: number
  /** What happens to it now. */
  phase: 'waiting' | 'fetching' | 'extracting' | 'done' | 'present' | 'sending' | 'sent' | 'mounted' | 'known'
}

export interface CommandProgress {
  commandId: string
  /** The step it is at: resolving, fetching, unpacking … */
  step: string
  layers: LayerProgress[]
}

/**
 * How far running commands are. Never in the log: it is coalesced to what a screen can show, and gone when the command
 * has ended.
 */
export class Progress {
  readonly #byCommand = new Map<string, CommandProgress>()
  readonly #changed = new EventEmitter().setMaxListeners(0)
  readonly #dirty = new Set<string>()
  readonly #parents = new Map<string, string>()
  #timer: NodeJS.Timeout | undefined

  /** The progress of a running command, to be changed in place and then `touch`ed. */
  begin(commandId: string, step: string): CommandProgress {
    const progress: CommandProgress = { commandId, step, layers: [] }
    this.#byCommand.set(commandId, progress)
    this.touch(commandId)
    return progress
  }

  get(commandId: string): CommandProgress | undefined {
    return this.#byCommand.get(commandId)
  }

  /** Tells listeners within 100 ms, once for many changes. */
  touch(commandId: string): void {
    this.#dirty.add(commandId)
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      for (const id of this.#dirty) this.#tell(id)
      this.#dirty.clear()
    }, 100).unref()
  }

  /** Shows a step's progress as that of the composite command too. */
  share(commandId: string, parentId: string): void {
    const progress = this.#byCommand.get(commandId)
    if (!progress) return
    this.#byCommand.set(parentId, progress)
    this.#parents.set(commandId, parentId)
  }

  /** Listeners are told the last of it at once. */
  end(commandId: string): void {
    if (this.#dirty.has(commandId)) this.#tell(commandId)
    const parentId = this.#parents.get(commandId)
    if (parentId !== undefined) this.#byCommand.delete(parentId)
    this.#parents.delete(commandId)
    this.#byCommand.delete(commandId)
    this.#dirty.delete(commandId)
  }

  #tell(commandId: string): void {
    const progress = this.#byCommand.get(commandId)
    this.#changed.emit(commandId, progress)
    const parentId = this.#parents.get(commandId)
    if (parentId !== undefined) this.#changed.emit(parentId, progress)
  }

  listen(commandId: string, listener: (progress: CommandProgress) => void): Disposable {
    this.#changed.on(commandId, listener)
    return { [Symbol.dispose]: () => this.#changed.off(commandId, listener) }
  }
}
