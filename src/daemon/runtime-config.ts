import { z } from 'zod'
import { duration } from '../model/duration.ts'
import { genericOptions, type RuncOptions } from '../shim/any-messages.ts'
import { isRuncShim, type RuntimeConfig, shimName } from '../shim/runtimes.ts'

const RUNC_SHIM = 'containerd-shim-runc-v2'

const path = z.string().startsWith('/', 'a path is absolute: begin it with /')

/** Of runtimes that the runc shim drives. @see containerd, api/types/runc/options/oci.proto */
const runcOptions = z.strictObject({
  noPivotRoot: z.boolean().optional(),
  noNewKeyring: z.boolean().optional(),
  shimCgroup: path.optional(),
  ioUid: z.int().min(0).optional(),
  ioGid: z.int().min(0).optional(),
  criuPath: path.optional(),
  criuImagePath: path.optional(),
  criuWorkPath: path.optional(),
})

/** Of all others. @see containerd, api/types/runtimeoptions/v1/api.proto */
const otherOptions = z.strictObject({
  typeUrl: z.string().optional(),
  configPath: path.optional(),
  configBody: z.string().optional(),
})

const runtime = z.strictObject({
  type: z
    .string()
    .optional()
    .describe('as containerd names it, io.containerd.runsc.v1, or the absolute path of its shim'),
  shim: z.string().optional().describe('instead of a type: name on the search path, or absolute path of the shim'),
  binary: z.string().optional().describe('runtime that the runc shim calls: runc, crun, or a path'),
  options: z.record(z.string(), z.unknown()).default({}).describe('what the shim is given'),
  timeout: duration.prefault('2m').describe('in which its shim must have done what it is called for'),
  allowVulnerable: z.boolean().default(false).describe('use it whatever is known against it'),
})
export type ConfiguredRuntime = z.output<typeof runtime>

/** Of `[runtime.NAME]`, by name. */
export const runtimeSchema = z.record(z.string(), runtime).superRefine((all, context) => {
  for (const [name, configured] of Object.entries(all)) {
    const refuse = (key: string, message: string) => context.addIssue({ code: 'custom', path: [name, key], message })
    const { type, shim, binary, options } = configured
    if (type !== undefined && shim !== undefined) refuse('shim', 'a runtime has a type or a shim, not both')
    if (type !== undefined && !isType(type)) refuse('type', 'a type is io.containerd.NAME.VERSION, or an absolute path')
    const isRunc = isRuncShim(shimOf(configured))
    if (binary !== undefined && !isRunc) refuse('binary', 'only the runc shim calls another program')
    const checked = (isRunc ? runcOptions : otherOptions).safeParse(options)
    const issue = checked.error?.issues[0]
    if (issue) context.addIssue({ code: 'custom', path: [name, 'options', ...issue.path], message: issue.message })
  }
})

function isType(type: string): boolean {
  try {
    shimName(type)
    return true
  } catch {
    return false
  }
}

const shimOf = ({ type, shim }: Pick<ConfiguredRuntime, 'type' | 'shim'>): string =>
  shim ?? (type !== undefined && isType(type) ? shimName(type) : RUNC_SHIM)

/** A runtime as the configuration has it: the runc shim, where it names none. */
export function configuredRuntime(configured: ConfiguredRuntime): RuntimeConfig {
  const shim = shimOf(configured)
  const { binary, timeout: callMs, allowVulnerable } = configured
  return { shim, callMs, allowVulnerable, options: optionsOf(shim, binary, configured.options) }
}

function optionsOf(shim: string, binary: string | undefined, options: Record<string, unknown>) {
  if (!isRuncShim(shim)) return genericOptions(otherOptions.parse(options))
  const given = Object.entries(runcOptions.parse(options)).filter(([, value]) => value !== undefined)
  const runc: RuncOptions = Object.fromEntries(given)
  return binary === undefined ? runc : { ...runc, binaryName: binary }
}

export const RUNC: RuntimeConfig = { shim: RUNC_SHIM }
export const CRUN: RuntimeConfig = { shim: RUNC_SHIM, options: { binaryName: 'crun' } }
