import { existsSync } from 'node:fs'
import { z } from 'zod'
import { PurserError } from '../model/errors.ts'
import { cgroupParent } from '../oci/spec/cgroup-parent.ts'
import { isRuncShim, type RuntimeConfig, shimName } from '../shim/runtimes.ts'

/** `[cgroup]`: who makes the cgroups of tasks, and where. */
export const cgroupSchema = z
  .strictObject({
    driver: z
      .enum(['cgroupfs', 'systemd'])
      .default('cgroupfs')
      .describe('who makes cgroups: the runtime, or systemd for it'),
    parent: cgroupParent,
  })
  .prefault({})

/** @see sd_booted(3) */
const isSystemdHere = (): boolean => existsSync('/run/systemd/system')

/** @throws PurserError failed_precondition where there is no systemd to ask */
export function requireDriver({ driver }: z.output<typeof cgroupSchema>): void {
  if (driver === 'cgroupfs' || isSystemdHere()) return
  throw new PurserError('failed_precondition', 'cgroup.driver = "systemd": this machine was not booted with systemd', {
    remedy: 'use driver = "cgroupfs"',
    field: 'cgroup.driver',
  })
}

/** Runtimes of the runc shim have to ask systemd too. */
export function withDriver(name: string, runtime: RuntimeConfig, driver: 'cgroupfs' | 'systemd'): RuntimeConfig {
  if (driver === 'cgroupfs' || !isRuncShim(runtime.shim ?? shimName(name))) return runtime
  return { ...runtime, options: { ...runtime.options, systemdCgroup: true } }
}
