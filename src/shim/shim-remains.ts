import { createHash } from 'node:crypto'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { readdir, readFile, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { unmount } from '../host/mounts.ts'
import { PurserError } from '../model/errors.ts'
import { isAnyMessage } from './any-messages.ts'
import { parseShimAddress, type ShimAddress } from './bootstrap.ts'
import { removeCgroup } from './cgroup-remains.ts'
import { removeRestoreRemains } from './restore-remains.ts'
import { type ProgramCall, type ProgramResult, runProgram } from './run-program.ts'
import { makeRuntimeNamespace, type RuntimeNamespace } from './runtime-namespace.ts'
import type { Runtime } from './runtimes.ts'
import type { ShimIdentity } from './shim.ts'

/** Where shims before containerd 2.3 put their sockets: the directory is fixed in their code. */
const SOCKET_DIRECTORY = '/run/containerd/s'

const GONE_POLL_MS = 5

export interface ShimProgram {
  runtime: Runtime
  env: Readonly<Record<string, string>>
  /** Where programs run that need a mount namespace; one of their own without it. */
  shared: RuntimeNamespace | undefined
  grpcAddress: string
  publishBinary: string
}

/** Runs a shim, or the runtime below it, where that runtime's programs run. */
export async function runInside(
  { runtime, shared }: Pick<ShimProgram, 'runtime' | 'shared'>,
  call: ProgramCall,
  signal: AbortSignal,
): Promise<ProgramResult> {
  if (!runtime.isApart) return await runProgram(call, signal)
  const enter = shared?.enter(call.cwd)
  if (enter !== undefined) return await runProgram(entering(enter, call), signal)
  using own = await makeRuntimeNamespace(runtime.runcFile === undefined ? [] : [runtime.runcFile], signal) // What it leaves running keeps it.
  const inside = own.enter(call.cwd)
  if (inside === undefined) throw new PurserError('unavailable', 'the mount namespace of a runtime has ended')
  return await runProgram(entering(inside, call), signal)
}

function entering(enter: readonly string[], { file, args, ...call }: ProgramCall): ProgramCall {
  const [program = file, ...rest] = [...enter, file, ...args]
  return { ...call, file: program, args: rest }
}

/** A shim that was started ahead has an id of its own, by which its process and its socket are found. */
export const noteShimId = (bundle: string, shimId: string): void => writeFileSync(join(bundle, 'shim-id'), shimId)

/** Notes that a task is one of several in the shim of a sandbox, which is not the task's to end. */
export function noteGroup(bundle: string, sandbox: ShimIdentity): void {
  noteShimId(bundle, shimIdOf(sandbox))
  writeFileSync(groupFile(bundle), sandbox.id)
}

/** As containerd calls it. */
const groupFile = (bundle: string): string => join(bundle, 'sandbox')

export const isGrouped = (bundle: string): boolean => existsSync(groupFile(bundle))

function shimIdOf({ bundle, id }: ShimIdentity): string {
  try {
    return readFileSync(join(bundle, 'shim-id'), 'utf8')
  } catch {
    return id // It was started for this task.
  }
}

/** As the shim was started, by which it is found. */
const ofShim = (identity: ShimIdentity): ShimIdentity => ({ ...identity, id: shimIdOf(identity) })

/** The arguments before the action: a shim's process shows them, which is how it is found again. */
export function shimArguments({ namespace, id }: ShimIdentity, program: ShimProgram): string[] {
  const { grpcAddress, publishBinary } = program
  return ['-namespace', namespace, '-address', grpcAddress, '-publish-binary', publishBinary, '-id', id]
}

/**
 * Removes everything that a task and its shim have left on the host, whichever step they had reached, and whether or not
 * the shim still lives: processes, container, cgroup, mounts, socket. The bundle itself stays: its owner removes it. Safe
 * to repeat. A shim that has other tasks too goes on.
 */
export async function removeShimRemains(
  identity: ShimIdentity,
  program: ShimProgram,
  signal: AbortSignal,
): Promise<void> {
  const address = await readShimAddress(identity.bundle)
  await killShims(identity, program.grpcAddress, signal)
  const state = stateDir(identity, program)
  if (state !== undefined) await removeRestoreRemains(identity.bundle, state, signal)
  await runDelete(identity, program, signal)
  await removeShimTraces(identity, program, signal)
  if (address && !isGrouped(identity.bundle)) await rm(address.socketPath, { force: true })
}

/** The same for a task that its shim has deleted before it ended: no process is looked for, and no program run in vain. */
export async function removeShimTraces(
  identity: ShimIdentity,
  program: ShimProgram,
  signal: AbortSignal,
): Promise<void> {
  const { bundle } = identity
  await removeFromRuntime(identity, program, signal)
  await removeCgroup(bundle, signal)
  unmount(join(bundle, 'rootfs'))
  if (isGrouped(bundle)) return
  const address = await readShimAddress(bundle)
  const sockets = [socketPathOf(ofShim(identity), program.grpcAddress)]
  if (address) sockets.push(address.socketPath)
  for (const file of [...sockets, join(bundle, 'address'), join(bundle, 'bootstrap.json')])
    rmSync(file, { force: true })
}

/** Ends shims that an earlier daemon has started ahead. @param dir holds their directories, by namespace and id */
export async function removeSpares(dir: string, grpcAddress: string, signal: AbortSignal): Promise<void> {
  for (const namespace of await readdir(dir).catch(() => [])) {
    for (const id of await readdir(join(dir, namespace))) {
      const spare = { namespace, id, bundle: join(dir, namespace, id) }
      await killShims(spare, grpcAddress, signal)
      await rm(socketPathOf(spare, grpcAddress), { force: true })
    }
  }
  await rm(dir, { recursive: true, force: true })
}

/** The address that a bundle's shim was last known to listen at; undefined when none was started. */
export async function readShimAddress(bundle: string): Promise<ShimAddress | undefined> {
  for (const name of ['bootstrap.json', 'address']) {
    try {
      return parseShimAddress(await readFile(join(bundle, name)))
    } catch {
      // Absent, or cut short by a crash or a full disk: the next one tells.
    }
  }
  return undefined
}

/** @see containerd, runtime/v2/shim/util_unix.go, "SocketAddress" */
function socketPathOf({ namespace, id }: ShimIdentity, grpcAddress: string): string {
  const name = createHash('sha256')
    .update(join(grpcAddress, namespace, id))
    .digest('hex')
  return join(SOCKET_DIRECTORY, name)
}

/** Has the shim's program delete the task. What its runtime keeps is looked at after it, whatever it says. */
async function runDelete(identity: ShimIdentity, program: ShimProgram, signal: AbortSignal): Promise<void> {
  const { bundle } = identity
  const { shimFile, runcFile } = program.runtime
  const wasCreated = existsSync(join(bundle, 'runtime'))
  if (existsSync(bundle) && (wasCreated || runcFile === undefined)) {
    const args = [...shimArguments(identity, program), '-bundle', bundle, 'delete']
    await runInside(program, { file: shimFile, args, cwd: bundle, env: program.env }, signal)
  }
}

/**
 * Removes a container from runc or crun itself, with its processes and its cgroup; it need not exist. A shim does not tell
 * of one that was not created whole, nor of a runtime that fails.
 */
export async function removeFromRuntime(
  identity: ShimIdentity,
  program: ShimProgram,
  signal: AbortSignal,
): Promise<void> {
  const { id, bundle } = identity
  const { env } = program
  const { runcFile } = program.runtime
  const state = stateDir(identity, program)
  if (runcFile === undefined || state === undefined || !existsSync(state)) return
  await removeRestoreRemains(bundle, state, signal)
  const args = ['--root', dirname(state), 'delete', '--force', id]
  const { exitCode, stderr } = await runInside(program, { file: runcFile, args, cwd: '/', env }, signal)
  if (exitCode !== 0 && existsSync(state)) {
    throw new PurserError('internal', `container ${id} cannot be removed: ${stderr.slice(0, 1000)}`, {
      remedy: `look at what ${state} holds`,
    })
  }
}

/** Where runc or crun keeps a container. */
function stateDir({ namespace, id }: ShimIdentity, { runtime }: ShimProgram): string | undefined {
  const { runcFile, options } = runtime
  if (runcFile === undefined || options === undefined || isAnyMessage(options) || options.root === undefined) return
  return join(options.root, namespace, id)
}

/** Ends a task's shim, by whichever id it was started, unless others are in it too. */
export async function killShims(identity: ShimIdentity, grpcAddress: string, signal: AbortSignal): Promise<void> {
  if (isGrouped(identity.bundle)) return
  const pids = await shimPids(ofShim(identity), grpcAddress)
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It ended by itself.
    }
  }
  for (const pid of pids) {
    while (await isRunning(pid)) await delay(GONE_POLL_MS, undefined, { signal })
  }
}

/** Looked for by arguments, not by a stored number: that one may belong to another process after a reboot. */
async function shimPids({ namespace, id }: ShimIdentity, grpcAddress: string): Promise<number[]> {
  return (await findShims(grpcAddress)).get(`${namespace}/${id}`) ?? []
}

/** Pids of the shims that run for us, by `namespace/id` as of the bundle. */
export async function shimsByTask(
  bundles: readonly ShimIdentity[],
  grpcAddress: string,
): Promise<ReadonlyMap<string, number[]>> {
  const found = await findShims(grpcAddress)
  return new Map(
    bundles.map((identity) => {
      const { namespace, id } = ofShim(identity)
      return [`${identity.namespace}/${identity.id}`, found.get(`${namespace}/${id}`) ?? []]
    }),
  )
}

/** By `namespace/id` as they were started. */
async function findShims(grpcAddress: string): Promise<Map<string, number[]>> {
  const found = new Map<string, number[]>()
  for (const entry of await readdir('/proc')) {
    const pid = Number(entry)
    if (!Number.isInteger(pid)) continue
    const args = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
    const after = (flag: string) => args[args.indexOf(flag) + 1]
    if (!args.includes('-address') || after('-address') !== grpcAddress) continue
    const key = `${after('-namespace')}/${after('-id')}`
    found.set(key, [...(found.get(key) ?? []), pid])
  }
  return found
}

/** A dead process whose parent does not collect it stays visible, as a zombie: it is gone all the same. */
async function isRunning(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  if (stat === undefined) return false
  const state = stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3)
  return state !== 'Z' && state !== 'X'
}
