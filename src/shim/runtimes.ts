import { accessSync, constants, statSync } from 'node:fs'
import { basename, isAbsolute, join } from 'node:path'
import { PurserError } from '../model/errors.ts'
import { isAnyMessage, type RuncOptions } from './any-messages.ts'
import type { AnyMessage } from './task-stats.ts'

/** How one runtime is configured; a runtime without configuration follows containerd's naming rule. */
export interface RuntimeConfig {
  /** The shim: a name on the search path, or an absolute path. */
  shim?: string
  options?: RuncOptions | AnyMessage
  /** Its programs need a mount namespace where cgroups have version 1 only. */
  isApart?: boolean
  /** Used whatever is known against it. */
  allowVulnerable?: boolean
  /** Milliseconds that its shim has for a call that runs something. */
  callMs?: number
}

/** A runtime whose programs are all there. */
export interface Runtime {
  shimFile: string
  /** The OCI runtime below the runc shim, where that is the shim. */
  runcFile: string | undefined
  options: RuncOptions | AnyMessage | undefined
  isApart: boolean
  /** Milliseconds that its shim has for a call that runs something. */
  callMs: number
}

/** A virtual machine may take its time to start. */
const CALL_MS = 120_000

const DEBIAN_PACKAGES: Readonly<Record<string, string>> = {
  'containerd-shim-runc-v2': 'containerd',
  crun: 'crun',
  runc: 'runc',
}

const RUNTIME_NAME = /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)$/

/**
 * The shim that a runtime's name stands for: `io.containerd.runc.v2` is `containerd-shim-runc-v2`, a path is itself.
 *
 * @see containerd, runtime/v2/README.md, "Installation"
 */
export function shimName(runtime: string): string {
  if (isAbsolute(runtime)) return runtime
  const match = RUNTIME_NAME.exec(runtime)
  if (match) return `containerd-shim-${match[1]}-${match[2]}`
  throw new PurserError('invalid_argument', `${JSON.stringify(runtime)} is not a runtime`, {
    remedy: 'name one as io.containerd.runc.v2, or give the absolute path of its shim',
  })
}

/**
 * @param runcRoot where runc or crun keeps its state, unless the options say otherwise
 * @throws PurserError failed_precondition when a program of the runtime is not installed
 */
export function resolveRuntime(
  name: string,
  config: RuntimeConfig | undefined,
  { searchPath, runcRoot }: { searchPath: string; runcRoot: string },
): Runtime {
  const shim = config?.shim ?? shimName(name)
  const shimFile = findProgram(shim, searchPath, name)
  const { options, isApart = false, callMs = CALL_MS } = config ?? {}
  if (!isRuncShim(shim) || (options && isAnyMessage(options)))
    return { shimFile, runcFile: undefined, options, isApart, callMs }
  const merged: RuncOptions = { root: runcRoot, ...options }
  const runcFile = findProgram(merged.binaryName ?? 'runc', searchPath, name)
  return { shimFile, runcFile, options: merged, isApart, callMs }
}

/** Whether a shim is containerd's, which runs runc or a program with runc's command line. */
export const isRuncShim = (shim: string): boolean => basename(shim).startsWith('containerd-shim-runc-')

/** @throws PurserError failed_precondition when it is not installed */
export function findProgram(program: string, searchPath: string, runtime: string): string {
  const candidates = isAbsolute(program)
    ? [program]
    : searchPath
        .split(':')
        .filter(isAbsolute)
        .map((directory) => join(directory, program))
  const found = candidates.find(isExecutable)
  if (found) return found
  const where = isAbsolute(program) ? 'which is not there' : `which is not in ${searchPath}`
  const debianPackage = DEBIAN_PACKAGES[basename(program)]
  throw new PurserError('failed_precondition', `runtime ${runtime} needs ${program}, ${where}`, {
    remedy: debianPackage === undefined ? `install ${basename(program)}` : `install it: apt install ${debianPackage}`,
  })
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    return false
  }
}
