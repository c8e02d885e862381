/** Who makes which snapshot now: two pulls that need the same layer unpack it once. */
export class Unpacks {
  readonly #underWay = new Map<string, Promise<void>>()

  /**
   * @param key of a snapshot, in its namespace
   * @returns undefined while somebody else makes it; dispose it when it is made, or will not be
   */
  claim(key: string): Disposable | undefined {
    if (this.#underWay.has(key)) return undefined
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#underWay.set(key, promise)
    return {
      [Symbol.dispose]: () => {
        if (this.#underWay.get(key) === promise) this.#underWay.delete(key)
        resolve()
      },
    }
  }

  /** Returns when nobody makes it any more. */
  async ended(key: string): Promise<void> {
    await this.#underWay.get(key)
  }
}
