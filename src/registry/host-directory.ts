import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ALL_CAPABILITIES, type HostEntry, parseHostsFile, refused } from './hosts-file.ts'

/** A bundle of authorities has some hundred kB. */
const FILE_BYTES_MAX = 4 * 1024 * 1024

/** A registry's directory, in which containerd and Docker keep what is to be known of it. */
export interface HostDirectory {
  entries: HostEntry[]
  dir: string
}

/**
 * What is configured for a registry: its `hosts.toml`, or certificates as Docker lays them out. It is read each time, so that
 * a change counts at once.
 *
 * @param roots directories such as /etc/containerd/certs.d; the first that knows the registry counts
 * @returns undefined when none does
 * @throws PurserError failed_precondition when a file cannot be read or understood
 * @see containerd, core/remotes/docker/config/hosts.go, `HostDirFromRoot` and `loadHostDir`
 */
export async function readHostDirectory(
  roots: readonly string[],
  registry: string,
): Promise<HostDirectory | undefined> {
  for (const root of roots) {
    for (const name of namesOf(registry)) {
      const dir = join(root, name)
      if (!(await exists(dir))) continue
      const file = join(dir, 'hosts.toml')
      const text = await readIfThere(file)
      const entries = text === undefined || text === '' ? await certificatesIn(dir) : parseHostsFile(text, file, dir)
      return { entries, dir }
    }
  }
}

/** `reg.lan:5000` may be written `reg.lan_5000_`, as some file systems take no colon. */
function namesOf(registry: string): string[] {
  const colon = registry.lastIndexOf(':')
  const plain = colon > 0 ? [`${registry.slice(0, colon)}_${registry.slice(colon + 1)}_`] : []
  return [...plain, registry, '_default']
}

/** @see docker, docs/reference/commandline/dockerd, "Insecure registries"; containerd, `loadCertFiles` */
async function certificatesIn(dir: string): Promise<HostEntry[]> {
  const names = await readdir(dir).catch((error: unknown) => {
    throw refused(dir, reasonOf(error))
  })
  const caFiles = names.filter((name) => name.endsWith('.crt')).map((name) => join(dir, name))
  const clientFiles = names
    .filter((name) => name.endsWith('.cert'))
    .map((name) => {
      const key = name.replace(/\.cert$/, '.key')
      return { cert: join(dir, name), key: join(dir, names.includes(key) ? key : name) }
    })
  return [
    {
      capabilities: ALL_CAPABILITIES,
      headers: {},
      ...(caFiles.length === 0 ? {} : { caFiles }),
      ...(clientFiles.length === 0 ? {} : { clientFiles }),
    },
  ]
}

async function exists(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch (error) {
    if (isMissing(error)) return false
    throw refused(path, reasonOf(error))
  }
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (isMissing(error)) return undefined
    throw refused(file, reasonOf(error))
  }
}

/** @throws PurserError failed_precondition */
export async function readPem(file: string): Promise<string> {
  try {
    const { size } = await stat(file)
    if (size > FILE_BYTES_MAX) throw refused(file, `it has ${size} bytes`)
    const text = await readFile(file, 'utf8')
    if (!text.includes('-----BEGIN ')) throw refused(file, 'it is not in PEM form')
    return text
  } catch (error) {
    if (error instanceof Error && 'code' in error && typeof error.code === 'string' && /^E[A-Z]+$/.test(error.code)) {
      throw refused(file, reasonOf(error))
    }
    throw error
  }
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
const isMissing = (error: unknown): boolean => ['ENOENT', 'ENOTDIR'].includes(codeOf(error))
const reasonOf = (error: unknown): string => (isMissing(error) ? 'it is not there' : codeOf(error) || String(error))
