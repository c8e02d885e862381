import { accessSync, constants, statSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'
import { PurserError } from '../../model/errors.ts'

/** Statically linked, so that they run in whatever image. */
const NAMES = ['docker-init', 'tini-static']

/** The program that is the first process of a container with an init. */
export class InitProgram {
  readonly #configured: string | undefined
  readonly #searchPath: string

  /** @param searchPath where it is looked for, unless one is configured */
  constructor(configured: string | undefined, searchPath: string) {
    this.#configured = configured
    this.#searchPath = searchPath
  }

  /** @throws PurserError failed_precondition when there is none */
  require(container: string): string {
    const candidates = this.#configured === undefined ? this.#usual() : [this.#configured]
    const found = candidates.find(isProgram)
    if (found !== undefined) return found
    const missing =
      this.#configured === undefined
        ? `neither ${NAMES.join(' nor ')} is in ${this.#searchPath}`
        : `${this.#configured}, which the configuration names, is no program`
    throw new PurserError('failed_precondition', `container ${container} is to have an init process, and ${missing}`, {
      remedy: 'install one: apt install tini; or name one with initPath in the configuration',
      field: 'init',
    })
  }

  #usual(): string[] {
    const directories = this.#searchPath.split(':').filter(isAbsolute)
    return NAMES.flatMap((name) => directories.map((directory) => join(directory, name)))
  }
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    return false
  }
}
