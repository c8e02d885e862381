import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Spec } from '../oci/spec/schema.ts'

/** @see crun(1), "run.oci.seccomp_bpf_data=PATH": the program itself, in base64, instead of what the profile is compiled to */
const ANNOTATION = 'run.oci.seccomp_bpf_data'

const PROFILES_MAX = 64
/** The kernel takes 4096 instructions of 8 bytes. @see linux/bpf_common.h, BPF_MAXINSNS */
const PROGRAM_BYTES_MAX = 4096 * 8

/**
 * Programs that crun has compiled seccomp profiles to, which takes it longer than all else in a create. It leaves the
 * program with the container; the next one with that profile is given it. A runtime that does not know the annotation
 * compiles the profile, which stays where it was.
 */
export class SeccompPrograms {
  readonly #programs = new Map<string, string>()

  /** The same specification, with the program where it is known. */
  addTo(spec: Spec): Spec {
    const program = this.#programs.get(keyOf(spec))
    return program === undefined ? spec : { ...spec, annotations: { ...spec.annotations, [ANNOTATION]: program } }
  }

  /** @param file what crun has left of a container that was created from this specification */
  async learn(spec: Spec, file: string): Promise<void> {
    const key = keyOf(spec)
    if (spec.linux.seccomp === undefined || this.#programs.has(key) || this.#programs.size >= PROFILES_MAX) return
    const program = await readFile(file).catch(() => undefined) // Other versions may not leave it.
    if (program === undefined || program.length === 0 || program.length % 8 !== 0) return
    if (program.length <= PROGRAM_BYTES_MAX) this.#programs.set(key, program.toString('base64'))
  }
}

const keyOf = ({ linux: { seccomp } }: Spec): string =>
  createHash('sha256')
    .update(JSON.stringify(seccomp ?? null))
    .digest('base64')
