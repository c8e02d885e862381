import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Pressure, Stall } from '../model/pressure.ts'
import { CGROUP_ROOT } from './cgroups.ts'
import { errnoOf } from './syscalls.ts'

const RESOURCES = ['cpu', 'memory', 'io'] as const

/** Of the whole host; undefined where the kernel does not tell. @see Documentation/accounting/psi.rst */
export const hostPressure = (): Pressure | undefined => pressureIn((resource) => `/proc/pressure/${resource}`)

/** Of the processes of a cgroup; undefined where no hierarchy of version 2 has it. @param path below the root of hierarchies */
export function cgroupPressure(path: string): Pressure | undefined {
  const dir = ['unified', '.'].map((hierarchy) => join(CGROUP_ROOT, hierarchy, path)).find(isOfVersion2)
  return dir === undefined ? undefined : pressureIn((resource) => join(dir, `${resource}.pressure`))
}

const isOfVersion2 = (dir: string): boolean => existsSync(join(dir, 'cgroup.pressure'))

function pressureIn(fileOf: (resource: string) => string): Pressure | undefined {
  const found: Pressure = {}
  for (const resource of RESOURCES) {
    const lines = textOf(fileOf(resource))?.split('\n') ?? []
    const [some, full] = ['some', 'full'].map((kind) => stallOf(lines.find((line) => line.startsWith(`${kind} `))))
    if (some !== undefined) found[resource] = { some, ...(full === undefined ? {} : { full }) }
  }
  return Object.keys(found).length === 0 ? undefined : found
}

/** Pressure can be switched off in the kernel, and for a cgroup; or the cgroup is gone. */
function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (['ENOENT', 'ENODEV', 'ENOTSUP'].includes(errnoOf(error) ?? '')) return undefined
    throw error
  }
}

function stallOf(line: string | undefined): Stall | undefined {
  const [, avg10, avg60, avg300, total] = /avg10=(\S+) avg60=(\S+) avg300=(\S+) total=(\d+)/.exec(line ?? '') ?? []
  if (total === undefined) return undefined
  return { avg10: Number(avg10), avg60: Number(avg60), avg300: Number(avg300), totalUs: Number(total) }
}
