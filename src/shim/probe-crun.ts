import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { PurserError, toPurserError } from '../model/errors.ts'
import { removeCgroup } from './cgroup-remains.ts'
import { runProgram } from './run-program.ts'
import { isHybrid, makeRuntimeNamespace, PROTECTED_PROGRAM } from './runtime-namespace.ts'
import { findProgram } from './runtimes.ts'

/** Where crun works: whether it needs a mount namespace for that. Where it does not: why. */
export type CrunFound = { works: true; isApart: boolean } | { works: false; why: string }

export interface CrunProbe {
  /** A name on the search path, or an absolute path. */
  binary: string
  searchPath: string
  /** Made and removed here. */
  dir: string
  /** Of the container that is tried, below each controller's root. */
  cgroupsPath: string
}

const ID = 'probe'
const TRY_MS = 5000

/** Runs `true` from the host's own files in a container of crun: the only way of knowing whether it works on this host. */
export async function probeCrun(probe: CrunProbe, signal: AbortSignal): Promise<CrunFound> {
  let file: string
  try {
    file = findProgram(probe.binary, probe.searchPath, 'crun')
  } catch (error) {
    return { works: false, why: toPurserError(error).message }
  }
  let why = ''
  for (const isApart of isHybrid() ? [false, true] : [false]) {
    try {
      await run(file, isApart, probe, AbortSignal.any([signal, AbortSignal.timeout(TRY_MS)]))
      return { works: true, isApart }
    } catch (error) {
      signal.throwIfAborted()
      why = toPurserError(error).message
    }
  }
  return { works: false, why }
}

async function run(file: string, isApart: boolean, probe: CrunProbe, signal: AbortSignal): Promise<void> {
  const { dir, cgroupsPath, searchPath } = probe
  using inside = isApart ? await makeRuntimeNamespace([file], signal) : undefined
  const crun = (...verb: string[]) => {
    const [program = file, ...args] = [...(inside?.enter('/') ?? []), file, '--root', join(dir, 'state'), ...verb]
    const env = { PATH: searchPath, ...(isApart ? PROTECTED_PROGRAM : {}) }
    return runProgram({ file: program, args, cwd: '/', env }, signal)
  }
  mkdirSync(join(dir, 'rootfs'), { recursive: true, mode: 0o700 })
  writeFileSync(join(dir, 'config.json'), JSON.stringify(specOf(cgroupsPath)))
  try {
    const { exitCode, stderr } = await crun('run', '--bundle', dir, ID)
    if (exitCode !== 0) throw new PurserError('failed_precondition', `crun does not work here: ${stderr.slice(-300)}`)
  } finally {
    if (existsSync(join(dir, 'state', ID))) await crun('delete', '--force', ID)
    await removeCgroup(dir, AbortSignal.timeout(TRY_MS))
    await rm(dir, { recursive: true, force: true })
  }
}

function specOf(cgroupsPath: string) {
  const directories = ['/bin', '/lib', '/lib64', '/usr'].filter((path) => existsSync(path))
  return {
    ociVersion: '1.0.2',
    process: {
      user: { uid: 0, gid: 0 },
      args: ['/bin/true'],
      env: ['PATH=/bin:/usr/bin'],
      cwd: '/',
      noNewPrivileges: true,
    },
    root: { path: 'rootfs' },
    hostname: ID,
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'size=64k'] },
      ...directories.map((path) => ({ destination: path, type: 'bind', source: path, options: ['rbind', 'ro'] })),
    ],
    linux: {
      cgroupsPath,
      namespaces: ['pid', 'mount', 'ipc', 'uts', 'network'].map((type) => ({ type })),
      resources: { devices: [{ allow: false, access: 'rwm' }] },
    },
  }
}
