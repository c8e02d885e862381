import { PurserError } from '../model/errors.ts'
import {
  type BootstrapForm,
  type BootstrapInput,
  bootstrapInput,
  formOf,
  parseShimAddress,
  parseShimVersion,
  type ShimAddress,
} from './bootstrap.ts'
import type { ProgramFacts } from './program-facts.ts'
import type { ShimIdentity } from './shim.ts'
import { runInside, type ShimProgram, shimArguments } from './shim-remains.ts'

/** Runs shims' `start`, and learns which form of input each reads. */
export class ShimStarter {
  readonly #facts: ProgramFacts
  readonly #eventsAddress: string
  /** Of shims whose version does not tell, by file. */
  readonly #learned = new Map<string, BootstrapForm>()

  constructor(facts: ProgramFacts, eventsAddress: string) {
    this.#facts = facts
    this.#eventsAddress = eventsAddress
  }

  /**
   * @param readFds for the shim to hold
   * @throws PurserError internal when the shim says why it fails, deadline_exceeded when it does not end
   */
  async start(
    identity: ShimIdentity,
    program: ShimProgram,
    readFds: readonly number[],
    signal: AbortSignal,
  ): Promise<ShimAddress> {
    const { shimFile, runcFile, callMs } = program.runtime
    const within = AbortSignal.any([signal, AbortSignal.timeout(callMs)])
    try {
      if (runcFile !== undefined) {
        const told = await this.#facts.told(shimFile, ['-v'])
        const form = formOf(told === undefined ? undefined : parseShimVersion(told))
        return parseShimAddress(await this.#run(form, identity, program, readFds, within))
      }
      // Of others it is not known what their version means: the one form is tried, then the other.
      const learned = this.#learned.get(shimFile)
      if (learned !== undefined) return parseShimAddress(await this.#run(learned, identity, program, readFds, within))
      return await this.#learn(identity, program, readFds, within)
    } catch (error) {
      if (signal.aborted || !within.aborted) throw error
      throw new PurserError('deadline_exceeded', `the shim of task ${identity.id} did not start within ${callMs} ms`)
    }
  }

  async #learn(
    identity: ShimIdentity,
    program: ShimProgram,
    readFds: readonly number[],
    signal: AbortSignal,
  ): Promise<ShimAddress> {
    const attempt = async (form: BootstrapForm): Promise<ShimAddress> => {
      const address = parseShimAddress(await this.#run(form, identity, program, readFds, signal))
      this.#learned.set(program.runtime.shimFile, form)
      return address
    }
    try {
      return await attempt('options')
    } catch (first) {
      if (!(first instanceof PurserError && first.code === 'internal')) throw first
      return await attempt('params').catch(() => Promise.reject(first))
    }
  }

  async #run(
    form: BootstrapForm,
    identity: ShimIdentity,
    program: ShimProgram,
    readFds: readonly number[],
    signal: AbortSignal,
  ): Promise<Buffer> {
    const { runtime, env, grpcAddress, publishBinary } = program
    const input: BootstrapInput = {
      ...identity,
      eventsAddress: this.#eventsAddress,
      grpcAddress,
      publishBinary,
      options: runtime.options,
    }
    const { exitCode, stdout, stderr } = await runInside(
      program,
      {
        file: runtime.shimFile,
        args: [...shimArguments(identity, program), 'start'],
        cwd: identity.bundle,
        env,
        stdin: bootstrapInput(form, input),
        inheritFds: readFds,
      },
      signal,
    )
    if (exitCode === 0) return stdout
    throw new PurserError('internal', `the shim of task ${identity.id} did not start: ${stderr.slice(-1000)}`)
  }
}
