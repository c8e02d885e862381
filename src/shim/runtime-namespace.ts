import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { PurserError } from '../model/errors.ts'
import { runProgram } from './run-program.ts'

const UNIFIED = '/sys/fs/cgroup/unified'

/** Of version 1: crun makes cgroups there whatever it finds, and these are those that it has made in that hierarchy already. */
const IN_ITS_PLACE = '/sys/fs/cgroup/freezer'

/** Whether cgroups are laid out as systemd's hybrid: a hierarchy of version 2 beside those of version 1. @see cgroups(7) */
export const isHybrid = (): boolean => existsSync(join(UNIFIED, 'cgroup.controllers'))

/**
 * For what is run there. crun copies its own program into memory before each thing it does, so that no container can overwrite
 * it, unless it is told that this has been seen to, and finds itself on a read-only mount.
 *
 * @see CVE-2019-5736; crun, src/libcrun/cloned_binary.c, "is_self_cloned"
 */
export const PROTECTED_PROGRAM: Readonly<Record<string, string>> = { _LIBCONTAINER_CLONED_BINARY: '1' }

/** Where a runtime finds cgroups of version 1 only. To enter it takes a millisecond, to make one five or more. */
export interface RuntimeNamespace extends Disposable {
  /** What a command line begins with to be run in it; undefined once it cannot be entered any more. */
  enter(cwd: string): readonly string[] | undefined
}

/**
 * Makes a mount namespace without the second hierarchy of cgroups. On the host's side of it nothing changes: its mounts stay
 * in it, and those of the host go on to arrive, where they propagate. A process that does nothing keeps it until programs
 * of it do, and ends with us, however we end.
 *
 * @param programs absolute paths of runtimes, which cannot be written to from within
 * @throws PurserError failed_precondition when it cannot be made here
 */
export async function makeRuntimeNamespace(programs: Iterable<string>, signal: AbortSignal): Promise<RuntimeNamespace> {
  const args = ['--mount', '--propagation', 'slave', '/bin/cat']
  const holder = spawn('/usr/bin/unshare', args, { stdio: ['pipe', 'pipe', 'ignore'], detached: true, env: {}, signal })
  let isHeld = true
  const end = () => {
    isHeld = false
  }
  holder.on('error', end).on('exit', end)
  holder.stdin.on('error', end)
  using undo = new DisposableStack()
  undo.defer(() => void holder.stdin.destroy())
  holder.stdin.write('there?') // What comes back comes from within.
  await Promise.race([once(holder.stdout, 'data', { signal }), once(holder, 'close')])
  holder.stdout.destroy()
  holder.unref()
  const enter: RuntimeNamespace['enter'] = (cwd) =>
    isHeld && holder.pid !== undefined
      ? ['/usr/bin/nsenter', `--mount=/proc/${holder.pid}/ns/mnt`, `--wdns=${cwd}`]
      : undefined
  const [file, ...rest] = enter('/') ?? []
  if (file === undefined) throw cannotBeMade('unshare ended')
  const bind = async (source: string, target: string, options: string) => {
    const args = [...rest, '/bin/mount', '-o', options, source, target]
    const { exitCode, stderr } = await runProgram({ file, args, cwd: '/', env: {} }, signal)
    if (exitCode !== 0) throw cannotBeMade(stderr.slice(-300))
  }
  await bind(IN_ITS_PLACE, UNIFIED, 'bind')
  for (const program of programs) await bind(program, program, 'bind,ro')
  const held = undo.move()
  return { enter, [Symbol.dispose]: () => held.dispose() }
}

const cannotBeMade = (why: string): PurserError =>
  new PurserError('failed_precondition', `no mount namespace could be made for the runtime: ${why}`, {
    remedy: 'use runc, or see that /usr/bin/unshare, nsenter and mount work here',
  })
