import { basename } from 'node:path'
import { z } from 'zod'
import { PurserError } from '../model/errors.ts'
import { isAnyMessage } from './any-messages.ts'
import { criuErrors } from './criu-log.ts'
import type { ProgramFacts } from './program-facts.ts'
import { findProgram, type Runtime } from './runtimes.ts'

/** Whether tasks of a runtime can be checkpointed and restored on this host; if not, what is in the way. */
export type CheckpointSupport =
  | { works: true; criu: string; version: string }
  | { works: false; obstacle: 'runtime' | 'criu' | 'kernel'; reason: string; remedy: string }

const features = z.object({ annotations: z.record(z.string(), z.string()).optional() })

/** Said by runc since 1.1. */
const CHECKPOINTS = 'org.opencontainers.runc.checkpoint.enabled'

/** Judges what is installed now, by what it says of itself. */
export async function checkpointSupport(
  name: string,
  runtime: Runtime,
  facts: ProgramFacts,
  searchPath: string,
): Promise<CheckpointSupport> {
  const { runcFile, shimFile, options } = runtime
  if (runcFile === undefined || (options !== undefined && isAnyMessage(options))) {
    const reason = `runtime ${name} runs its tasks by ${basename(shimFile)}, which is not known to checkpoint them`
    return { works: false, obstacle: 'runtime', reason, remedy: OTHER_RUNTIME }
  }
  if (!(await isBuiltWithCriu(runcFile, facts))) {
    const reason = `runtime ${name} is ${runcFile}, which was built without CRIU`
    return { works: false, obstacle: 'runtime', reason, remedy: OTHER_RUNTIME }
  }
  let criu: string
  try {
    criu = findProgram(options?.criuPath ?? 'criu', searchPath, name)
  } catch (cause) {
    if (!(cause instanceof PurserError)) throw cause
    return { works: false, obstacle: 'criu', reason: cause.message, remedy: NEWER_CRIU }
  }
  const version = /^Version: (\S+)/m.exec((await facts.told(criu, ['--version'])) ?? '')?.[1]
  if (version === undefined) {
    const reason = `${criu} does not tell its version, as CRIU does`
    return { works: false, obstacle: 'criu', reason, remedy: NEWER_CRIU }
  }
  const checked = await facts.answer(criu, ['check'])
  if (checked?.exitCode === 0) return { works: true, criu, version }
  const said = checked === undefined ? ['it does not end'] : criuErrors(checked.stderr)
  const reason = `CRIU ${version} does not work on this kernel: ${said[0] ?? `criu check ended with ${checked?.exitCode}`}`
  return { works: false, obstacle: 'kernel', reason, remedy: NEWER_CRIU }
}

const OTHER_RUNTIME = 'run the container by runc: --runtime runc'
const NEWER_CRIU =
  'install a CRIU that knows this kernel, where runtimes are looked for or named as criuPath in [runtime.NAME.options]; criu check tells whether it does'

async function isBuiltWithCriu(file: string, facts: ProgramFacts): Promise<boolean> {
  const version = (await facts.told(file, ['--version'])) ?? ''
  if (/^crun version/m.test(version)) return /\+CRIU\b/.test(version)
  const told = await facts.told(file, ['features'])
  if (told === undefined) return true // A runc before 1.1 has no such word, and always can.
  const { annotations = {} } = features.parse(JSON.parse(told))
  return annotations[CHECKPOINTS] === 'true'
}
