import { basename, join } from 'node:path'
import type { Logger } from 'pino'
import { removeCgroups } from '../host/cgroups.ts'
import type { ContainerOptions } from '../oci/spec/container-options.ts'
import { type CrunFound, probeCrun } from '../shim/probe-crun.ts'
import type { RuntimeConfig } from '../shim/runtimes.ts'
import type { Shims } from '../shim/shims.ts'
import { CgroupLayout } from '../workers/task/cgroup-layout.ts'
import { withDriver } from './cgroup-config.ts'
import type { Config } from './config.ts'
import { CRUN, configuredRuntime, RUNC } from './runtime-config.ts'

/** Where shims and runtimes are looked for. */
export const SEARCH_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

export interface Runtimes {
  byName: Readonly<Record<string, RuntimeConfig>>
  /** Of a container for which none is named. */
  defaultFor(options: ContainerOptions): string
  /** Of a sandbox for which none is named. */
  forSandboxes: string
  /** For `purser info`: the default, and what was found of crun. */
  told: { defaultRuntime: string; crun: string }
}

/** Mounts that a container shares back with the host. */
const SHARED = /^r?shared$/

/** Finds out which runtimes there are: crun, which starts in a third of runc's time, is tried before it is relied on. */
export async function openRuntimes(config: Config, signal: AbortSignal): Promise<Runtimes> {
  const given = Object.entries(config.runtime).map(([name, each]): [string, RuntimeConfig] => [
    name,
    configuredRuntime(name === 'crun' ? { ...each, binary: each.binary ?? 'crun' } : each),
  ])
  const named: Record<string, RuntimeConfig> = { runc: RUNC, crun: CRUN, ...Object.fromEntries(given) }
  const cgroups = new CgroupLayout(config.state)
  const probe = {
    searchPath: SEARCH_PATH,
    dir: join(config.state, 'probe'),
    cgroupsPath: cgroups.path('probe', 'crun'),
  }
  const binary = binaryOf(named.crun)
  const found: CrunFound = binary === undefined ? NOT_CRUN : await probeCrun({ ...probe, binary }, signal)
  await removeCgroups(cgroups.parents('probe'))
  const isApart = found.works && found.isApart
  const byName = Object.fromEntries(
    Object.entries(named).map(([name, runtime]) => {
      const driven = withDriver(name, runtime, config.cgroup.driver)
      return [name, binaryOf(runtime) === undefined ? driven : { ...driven, isApart }]
    }),
  )
  const usual = config.defaultRuntime ?? (found.works ? 'crun' : 'runc')
  return {
    byName,
    defaultFor({ mounts }) {
      // From a mount namespace of its own nothing is shared back.
      const shares = mounts.some(({ options }) => options.some((option) => SHARED.test(option)))
      return config.defaultRuntime === undefined && byName[usual]?.isApart && shares ? 'runc' : usual
    },
    // From a mount namespace of its own a shim does not see what is mounted for containers later.
    forSandboxes: config.defaultRuntime === undefined && byName[usual]?.isApart ? 'runc' : usual,
    told: { defaultRuntime: usual, crun: describe(found) },
  }
}

const NOT_CRUN: CrunFound = { works: false, why: 'the configuration has another program for it' }

/** The program, where it is crun. */
function binaryOf(runtime: RuntimeConfig | undefined): string | undefined {
  const options = runtime?.options
  const name = options !== undefined && 'binaryName' in options ? options.binaryName : undefined
  return name !== undefined && basename(name) === 'crun' ? name : undefined
}

function describe(found: CrunFound): string {
  if (!found.works) return `not used: ${found.why}`
  return !found.isApart ? 'works' : 'works, in a mount namespace without /sys/fs/cgroup/unified'
}

/** Says which runtimes are not as they should be; they are judged anew whenever one is used. */
export async function warnOfRuntimes(shims: Shims, logger: Logger): Promise<void> {
  try {
    for (const { name, verdict, reasons, remedy } of await shims.reports.all())
      if (verdict === 'warned' || verdict === 'refused')
        logger.warn({ runtime: name, verdict, reasons, remedy }, 'vulnerable runtime')
  } catch (err) {
    logger.error({ err }, 'the runtimes could not be judged')
  }
}
