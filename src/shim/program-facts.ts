import { stat } from 'node:fs/promises'
import { errorCodeOf } from '../model/errors.ts'
import { type ProgramResult, runProgram } from './run-program.ts'

/** A program that does not tell its version within this tells none. */
const TELL_MS = 5000

/** What programs say of themselves, asked once for each file, until it is replaced. */
export class ProgramFacts {
  readonly #searchPath: string
  readonly #asked = new Map<string, Promise<ProgramResult | undefined>>()

  constructor(searchPath: string) {
    this.#searchPath = searchPath
  }

  /** @returns what it prints with these arguments; undefined when it fails or does not end */
  async told(file: string, args: readonly string[]): Promise<string | undefined> {
    const answer = await this.answer(file, args)
    return answer?.exitCode === 0 ? answer.stdout.toString('utf8') : undefined
  }

  /** @returns how it ends with these arguments; undefined when it cannot be run or does not end */
  async answer(file: string, args: readonly string[]): Promise<ProgramResult | undefined> {
    const { ino, mtimeMs } = await stat(file)
    const key = JSON.stringify([file, ino, mtimeMs, ...args])
    const asked = this.#asked.get(key) ?? this.#ask(file, args)
    this.#asked.set(key, asked)
    return await asked
  }

  async #ask(file: string, args: readonly string[]): Promise<ProgramResult | undefined> {
    const call = { file, args, cwd: '/', env: { PATH: this.#searchPath } }
    try {
      return await runProgram(call, AbortSignal.timeout(TELL_MS))
    } catch (error) {
      if (errorCodeOf(error) === 'failed_precondition' || (error instanceof Error && error.name === 'TimeoutError'))
        return undefined
      throw error
    }
  }
}
