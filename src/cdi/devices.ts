import { type Dirent, readdirSync, readFileSync, statSync } from 'node:fs'
import { extname, join } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import { devicesAt } from '../host/devices.ts'
import { errnoOf } from '../host/syscalls.ts'
import { PurserError } from '../model/errors.ts'
import type { CdiDevice, ResolvedEdits } from '../oci/cdi/apply.ts'
import { parseCdiName } from '../oci/cdi/name.ts'
import { type CdiDeviceNode, type CdiEdits, type CdiSpec, cdiSpec } from '../oci/cdi/spec.ts'

const SPEC_BYTES_MAX = 4 * 1024 * 1024
const EXTENSIONS = new Set(['.json', '.yaml', '.yml'])

interface Found {
  file: string
  spec: CdiSpec
  edits: CdiEdits
}

/** Devices that vendors describe in files. They are read when one is asked for: drivers write them at any time. */
export class CdiDevices {
  readonly #dirs: readonly string[]

  /** @param dirs of a device that is in several, the last one counts */
  constructor(dirs: readonly string[]) {
    this.#dirs = dirs
  }

  /**
   * What devices come to: the edits of each kind once, and those of each device.
   *
   * @param names `vendor.com/class=name`
   * @throws PurserError failed_precondition when one is not known, is described twice, or has no node on this host
   */
  resolve(names: readonly string[]): ResolvedEdits[] {
    if (names.length === 0) return []
    const { specs, broken } = this.#read()
    const ofKinds = new Set<CdiSpec>()
    return names.flatMap((qualified) => {
      const { spec, edits, file } = findDevice(qualified, specs, broken, this.#dirs)
      const isFirst = spec.containerEdits !== undefined && !ofKinds.has(spec)
      ofKinds.add(spec)
      return [...(isFirst && spec.containerEdits ? [spec.containerEdits] : []), edits].map((each) =>
        resolved(each, qualified, file),
      )
    })
  }

  /** Those of the last directory first. */
  #read(): { specs: { file: string; priority: number; spec: CdiSpec }[]; broken: string[] } {
    const specs: { file: string; priority: number; spec: CdiSpec }[] = []
    const broken: string[] = []
    for (const [priority, dir] of this.#dirs.entries()) {
      for (const name of filesIn(dir)) {
        const file = join(dir, name)
        try {
          specs.push({ file, priority, spec: readSpec(file) })
        } catch (error) {
          broken.push(`${file}: ${error instanceof Error ? error.message : String(error)}`)
        }
      }
    }
    return { specs: specs.sort((a, b) => b.priority - a.priority), broken }
  }
}

function filesIn(dir: string): string[] {
  let entries: Dirent[]
  try {
    entries = readdirSync(dir, { withFileTypes: true })
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return []
    throw error
  }
  return entries.filter((entry) => !entry.isDirectory() && EXTENSIONS.has(extname(entry.name))).map(({ name }) => name)
}

function readSpec(file: string): CdiSpec {
  const stats = statSync(file)
  if (!stats.isFile() || stats.size > SPEC_BYTES_MAX)
    throw new Error(`it is no file of ${SPEC_BYTES_MAX} bytes at most`)
  const text = readFileSync(file, 'utf8')
  const parsed = cdiSpec.safeParse(extname(file) === '.json' ? JSON.parse(text) : parse(text, { version: '1.1' }))
  if (parsed.success) return parsed.data
  throw new Error(z.prettifyError(parsed.error).replaceAll(/\s*\n\s*/g, ' '))
}

function findDevice(
  qualified: string,
  specs: readonly { file: string; priority: number; spec: CdiSpec }[],
  broken: readonly string[],
  dirs: readonly string[],
): Found {
  const { kind, name } = parseCdiName(qualified) ?? {}
  const found = specs.flatMap(({ file, priority, spec }) => {
    const device = spec.kind === kind ? spec.devices.find((each) => each.name === name) : undefined
    return device === undefined ? [] : [{ file, priority, spec, edits: device.containerEdits }]
  })
  const [first, second] = found
  if (first !== undefined && second?.priority === first.priority) {
    throw refused(qualified, `is described by both ${first.file} and ${second.file}`, 'remove it from one of them')
  }
  if (first !== undefined) return first
  const hint = broken.length === 0 ? '' : `; what could not be read: ${broken.join('; ').slice(0, 1000)}`
  const known = specs.flatMap(({ spec }) => spec.devices.map((device) => `${spec.kind}=${device.name}`))
  throw refused(
    qualified,
    `is in no CDI specification of ${dirs.join(', ')}${hint}`,
    known.length === 0 ? 'have its driver write one' : `known are ${known.slice(0, 20).join(', ')}`,
  )
}

function resolved({ deviceNodes = [], ...edits }: CdiEdits, qualified: string, file: string): ResolvedEdits {
  return { ...edits, devices: deviceNodes.map((node) => deviceOf(node, qualified, file)) }
}

function deviceOf(node: CdiDeviceNode, qualified: string, file: string): CdiDevice {
  const { path, hostPath = path, fileMode, uid, gid, major, minor } = node
  const type = node.type || undefined
  const permissions = node.permissions || 'rwm'
  const owner = {
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  }
  if (type === 'p' || (type !== undefined && major !== undefined && minor !== undefined)) {
    const mode = fileMode === undefined ? {} : { fileMode }
    return { path, type, major: major ?? 0, minor: minor ?? 0, permissions, ...mode, ...owner }
  }
  let found: ReturnType<typeof devicesAt>
  try {
    found = devicesAt(hostPath)
  } catch (cause) {
    if (errnoOf(cause) === undefined) throw cause
    found = []
  }
  const [device, more] = found
  if (device === undefined || more !== undefined) {
    throw refused(
      qualified,
      `needs ${hostPath}, which is no device on this host (${file})`,
      'see that its driver is loaded',
    )
  }
  return {
    path,
    type: device.type,
    major: device.major,
    minor: device.minor,
    fileMode: fileMode ?? device.fileMode,
    permissions,
    ...owner,
  }
}

const refused = (device: string, why: string, remedy: string): PurserError =>
  new PurserError('failed_precondition', `device ${device} ${why}`, { remedy, field: 'options.cdiDevices' })
