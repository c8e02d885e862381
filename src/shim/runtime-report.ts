import { readFile, stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { z } from 'zod'
import { PurserError, toPurserError } from '../model/errors.ts'
import { type Finding, findingsOfRunc, type RuntimeBuild } from './advisories.ts'
import { parseShimVersion } from './bootstrap.ts'
import { type CheckpointSupport, checkpointSupport } from './checkpoint-support.ts'
import type { ProgramFacts } from './program-facts.ts'
import { type Runtime, type RuntimeConfig, resolveRuntime } from './runtimes.ts'

/** What a runtime is, and whether containers are started with it. */
export interface RuntimeReport {
  name: string
  /** As containerd names it; undefined for a shim whose name is no such one. */
  type: string | undefined
  shim: string | undefined
  shimVersion: string | undefined
  /** The OCI runtime below the runc shim. */
  binary: string | undefined
  version: string | undefined
  /** Of the distributor's package that it is from. */
  package: string | undefined
  /** Of containerd's task API; undefined where it is known only once a shim has started. */
  taskApi: 2 | 3 | undefined
  features: string[]
  /** `warned`: it is used, with the reasons on record. */
  verdict: 'ok' | 'warned' | 'refused' | 'missing'
  reasons: string[]
  remedy: string | undefined
}

export interface RuntimeReportsConfig {
  runtimes: Readonly<Record<string, RuntimeConfig>>
  searchPath: string
  runcRoot: string
  facts: ProgramFacts
}

const DPKG_QUERY = '/usr/bin/dpkg-query'
const CHANGELOG_BYTES_MAX = 4 * 1024 * 1024

const featuresOfRuntime = z.object({
  ociVersionMax: z.string().optional(),
  linux: z
    .object({
      cgroup: z.record(z.string(), z.unknown()).optional(),
      seccomp: z.object({ enabled: z.boolean().optional() }).optional(),
      apparmor: z.object({ enabled: z.boolean().optional() }).optional(),
      selinux: z.object({ enabled: z.boolean().optional() }).optional(),
      intelRdt: z.object({ enabled: z.boolean().optional() }).optional(),
      mountExtensions: z.object({ idmap: z.object({ enabled: z.boolean().optional() }).optional() }).optional(),
    })
    .optional(),
})

/** Judges runtimes by what is installed now. */
export class RuntimeReports {
  readonly #config: RuntimeReportsConfig
  /** By the name of the runtime; it holds as long as the program is the same file. */
  readonly #judged = new Map<string, { build: string; refusal: PurserError | undefined }>()

  constructor(config: RuntimeReportsConfig) {
    this.#config = config
  }

  resolve(name: string): Runtime {
    const { runtimes, searchPath, runcRoot } = this.#config
    return resolveRuntime(name, configOf(runtimes, name), { searchPath, runcRoot })
  }

  /** Of every runtime that is known by a name. */
  async all(): Promise<RuntimeReport[]> {
    return await Promise.all(Object.keys(this.#config.runtimes).map((name) => this.of(name)))
  }

  async of(name: string): Promise<RuntimeReport> {
    let runtime: Runtime
    try {
      runtime = this.resolve(name)
    } catch (thrown) {
      const { code, message, remedy } = toPurserError(thrown)
      if (code !== 'failed_precondition') throw thrown
      return { ...NOTHING, name, verdict: 'missing', reasons: [message], remedy }
    }
    const { shimFile, runcFile } = runtime
    const shimTold = await this.#config.facts.told(shimFile, ['-v'])
    const shimVersion = /^\s*Version:\s*(\S+)/m.exec(shimTold ?? '')?.[1]
    const build = runcFile === undefined ? undefined : await this.#buildOf(runcFile)
    const findings = build !== undefined && build.name === 'runc' ? findingsOfRunc(build) : []
    return {
      name,
      type: typeOf(shimFile),
      shim: shimFile,
      shimVersion,
      binary: runcFile,
      version: build?.version,
      package: build?.package,
      taskApi: runcFile === undefined ? undefined : taskApiOf(shimTold),
      features: runcFile === undefined ? [] : await this.#featuresOf(runcFile),
      ...verdictOf(findings, configOf(this.#config.runtimes, name)?.allowVulnerable ?? false, name),
    }
  }

  /** @throws PurserError failed_precondition when containers are not to be started with it, with the reason */
  async require(name: string): Promise<void> {
    const { runcFile } = this.resolve(name)
    if (runcFile === undefined) return
    const { ino, mtimeMs } = await stat(runcFile)
    const build = `${runcFile} ${ino} ${mtimeMs}`
    const known = this.#judged.get(name)
    const judged = known?.build === build ? known : { build, refusal: await this.#refusalOf(name) }
    this.#judged.set(name, judged)
    if (judged.refusal) throw judged.refusal
  }

  /** Whether its tasks can be checkpointed on this host, and what is in the way. @throws PurserError as {@link resolve} */
  async checkpoints(name: string): Promise<CheckpointSupport> {
    const { facts, searchPath } = this.#config
    return await checkpointSupport(name, this.resolve(name), facts, searchPath)
  }

  /** @throws PurserError failed_precondition when its tasks cannot be checkpointed here, with the reason */
  async requireCheckpoints(name: string): Promise<Extract<CheckpointSupport, { works: true }>> {
    const support = await this.checkpoints(name)
    if (support.works) return support
    throw new PurserError('failed_precondition', support.reason, { remedy: support.remedy })
  }

  async #refusalOf(name: string): Promise<PurserError | undefined> {
    const { verdict, reasons, remedy } = await this.of(name)
    if (verdict !== 'refused') return undefined
    return new PurserError('failed_precondition', `runtime ${name} is not used: ${reasons.join('; ')}`, {
      ...(remedy === undefined ? {} : { remedy }),
    })
  }

  async #buildOf(file: string): Promise<(RuntimeBuild & { name: string }) | undefined> {
    const told = await this.#config.facts.told(file, ['--version'])
    const [, name, version] = /^(\w+) version (\S+)/m.exec(told ?? '') ?? []
    if (name === undefined || version === undefined) return undefined
    // Debian's build says its package where others say their commit, Ubuntu's as its version.
    const said = [/^commit: (\S+)/m.exec(told ?? '')?.[1] ?? '', version].find((text) => PACKAGE_VERSION.test(text))
    const installed = said ?? (name === 'runc' ? await this.#packageOf(file) : undefined)
    if (installed === undefined) return { name, version, package: undefined, changelog: undefined }
    return { name, version, package: installed, changelog: await changelogOf(name, installed) }
  }

  /** @returns the version of the package `runc` that has this file */
  async #packageOf(file: string): Promise<string | undefined> {
    if (dirname(file) !== '/usr/bin' && dirname(file) !== '/usr/sbin') return undefined
    const { facts } = this.#config
    try {
      if (!(await facts.told(DPKG_QUERY, ['--search', file]))?.startsWith('runc:')) return undefined
      return (await facts.told(DPKG_QUERY, ['--show', 'runc']))?.trim().split('\t')[1]
    } catch {
      return undefined // A host without dpkg.
    }
  }

  async #featuresOf(file: string): Promise<string[]> {
    const told = await this.#config.facts.told(file, ['features'])
    if (told === undefined) return [] // Older ones do not know the word.
    const found = featuresOfRuntime.safeParse(parseJson(told)).data
    const { cgroup = {}, seccomp, apparmor, selinux, intelRdt, mountExtensions } = found?.linux ?? {}
    const enabled = { seccomp, apparmor, selinux, intelRdt, idmap: mountExtensions?.idmap }
    return [
      ...(found?.ociVersionMax === undefined ? [] : [`oci-${found.ociVersionMax}`]),
      ...Object.entries(cgroup).flatMap(([key, value]) => (value === true ? [`cgroup-${key}`] : [])),
      ...Object.entries(enabled).flatMap(([key, value]) => (value?.enabled ? [key] : [])),
    ]
  }
}

const NOTHING = {
  type: undefined,
  shim: undefined,
  shimVersion: undefined,
  binary: undefined,
  version: undefined,
  package: undefined,
  taskApi: undefined,
  features: [],
}

/** A Debian revision begins with a digit, other than a candidate's `-rc.1`; a commit begins with `v`. */
const PACKAGE_VERSION = /^\d[\w.+~:]*-\d[\w.+~]*$/

/** A name may be any word: also one that every object has a property of. */
export const configOf = (runtimes: Readonly<Record<string, RuntimeConfig>>, name: string): RuntimeConfig | undefined =>
  Object.hasOwn(runtimes, name) ? runtimes[name] : undefined

function typeOf(shimFile: string): string | undefined {
  const match = /^containerd-shim-([A-Za-z0-9_]+)-([A-Za-z0-9_]+)$/.exec(basename(shimFile))
  return match ? `io.containerd.${match[1]}.${match[2]}` : undefined
}

function taskApiOf(told: string | undefined): 2 | 3 | undefined {
  const version = told === undefined ? undefined : parseShimVersion(told)
  if (version === undefined) return undefined
  return version.major >= 2 ? 3 : 2
}

function verdictOf(
  findings: readonly Finding[],
  allowVulnerable: boolean,
  name: string,
): Pick<RuntimeReport, 'verdict' | 'reasons' | 'remedy'> {
  const reasons = findings.map(({ reason }) => reason)
  if (findings.length === 0) return { verdict: 'ok', reasons, remedy: undefined }
  const isRefused = findings.some(({ grade }) => grade === 'refuse')
  if (!isRefused || allowVulnerable) {
    return { verdict: 'warned', reasons, remedy: 'update runc, or use crun' }
  }
  const key = /^[A-Za-z0-9_-]+$/.test(name) ? name : JSON.stringify(name)
  return {
    verdict: 'refused',
    reasons: findings.flatMap(({ grade, reason }) => (grade === 'refuse' ? [reason] : [])),
    remedy: `update runc, or use crun; [runtime.${key}] allowVulnerable = true takes the risk`,
  }
}

/** Of this version of the package: another one that is installed tells nothing of a program that was put beside it. */
async function changelogOf(name: string, version: string): Promise<string | undefined> {
  try {
    const bytes = await readFile(`/usr/share/doc/${name}/changelog.Debian.gz`)
    const text = gunzipSync(bytes, { maxOutputLength: CHANGELOG_BYTES_MAX }).toString('utf8')
    return text.startsWith(`${name} (${version})`) ? text : undefined
  } catch {
    return undefined // Images for containers leave it out.
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
