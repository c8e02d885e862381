import { PurserError } from '../../model/errors.ts'

const CONTROL: Record<string, number> = { '@': 0, '[': 27, '\\': 28, ']': 29, '^': 30, _: 31 }

/**
 * docker's notation of keys: single characters and `ctrl-X`, with commas between.
 *
 * @returns the bytes they send; none for an empty text, which means that nothing detaches
 * @throws PurserError invalid_argument
 */
export function parseDetachKeys(text: string): number[] {
  if (text === '') return []
  return text.split(',').map((key) => {
    if (/^[\x20-\x7e]$/.test(key)) return key.charCodeAt(0)
    const control = /^ctrl-([a-z@[\\\]^_])$/.exec(key)?.[1]
    const code = control === undefined ? undefined : (CONTROL[control] ?? control.charCodeAt(0) - 96)
    if (code !== undefined) return code
    throw new PurserError('invalid_argument', `${JSON.stringify(key)} is not a key`, {
      remedy: 'write single characters or ctrl-X, with commas between: ctrl-p,ctrl-q',
    })
  })
}

/** Watches what is typed for the keys that detach. Those of a sequence that is not completed go on to the process. */
export class DetachKeys {
  readonly #keys: readonly number[]
  /** A beginning of the keys, held back. */
  #held: number[] = []

  constructor(keys: readonly number[]) {
    this.#keys = keys
  }

  /** @returns what goes to the process now, and whether the sequence is complete */
  feed(chunk: Uint8Array): { input: Uint8Array; isDetached: boolean } {
    if (this.#keys.length === 0) return { input: chunk, isDetached: false }
    const input: number[] = []
    for (const byte of chunk) {
      this.#held.push(byte)
      // What is held may end with another beginning of the keys: 1 1 1 2 has 1 1 2.
      while (this.#held.some((held, at) => held !== this.#keys[at])) input.push(...this.#held.splice(0, 1))
      if (this.#held.length === this.#keys.length) return { input: Uint8Array.from(input), isDetached: true }
    }
    return { input: Uint8Array.from(input), isDetached: false }
  }
}
