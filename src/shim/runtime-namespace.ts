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
 * @throws PurserError failed_precondition when it cannot be made here
 */
export async function makeRuntimeNamespace(signal: AbortSignal): Promise<RuntimeNamespace> {
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
  const mount = { file, args: [...rest, '/bin/mount', '--bind', IN_ITS_PLACE, UNIFIED], cwd: '/', env: {} }
  const { exitCode, stderr } = await runProgram(mount, signal)
  if (exitCode !== 0) throw cannotBeMade(stderr.slice(-300))
  const held = undo.move()
  return { enter, [Symbol.dispose]: () => held.dispose() }
}

const cannotBeMade = (why: string): PurserError =>
  new PurserError('failed_precondition', `no mount namespace could be made for the runtime: ${why}`, {
    remedy: 'use runc, or see that /usr/bin/unshare, nsenter and mount work here',
  })
