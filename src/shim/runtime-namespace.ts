import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

const UNIFIED = '/sys/fs/cgroup/unified'

/** Whether cgroups are laid out as systemd's hybrid: a hierarchy of version 2 beside those of version 1. @see cgroups(7) */
export const isHybrid = (): boolean => existsSync(join(UNIFIED, 'cgroup.controllers'))

/**
 * What hides the second hierarchy, on the host's side of which nothing changes: mounts of the new namespace stay in it, those
 * of the host go on to arrive. A hierarchy of version 1 takes its place, for crun makes cgroups there whatever it finds: they
 * are those that it has made in that hierarchy already, and go with them.
 */
const HIDE = `mount --bind /sys/fs/cgroup/freezer ${UNIFIED}`

/** Makes a mount namespace where cgroups have version 1 only, and runs a script in it. */
const within = (script: string): string[] => [
  '/usr/bin/unshare',
  '--mount',
  '--propagation',
  'slave',
  '/bin/sh',
  '-c',
  `${HIDE} && ${script}`,
  'sh',
]

/** Put before a command line, runs it in such a namespace of its own: one that has all mounts of the host. */
export const WITHOUT_UNIFIED: readonly string[] = within('exec "$@"')

/** A namespace that many programs share: to enter it takes a millisecond, to make one five or more. */
export interface SharedNamespace extends Disposable {
  /** What a command line begins with to be run in it; undefined once it cannot be entered any more. */
  enter(cwd: string): readonly string[] | undefined
}

/**
 * A process that does nothing keeps the namespace until programs of it do; it ends with us, however we end. What is mounted on
 * the host from now on is seen in it where the host's mounts propagate.
 */
export async function shareNamespace(signal: AbortSignal): Promise<SharedNamespace> {
  const [file = '', ...args] = within('echo made && exec cat')
  const holder = spawn(file, args, { stdio: ['pipe', 'pipe', 'ignore'], detached: true, env: {}, signal })
  let isHeld = true
  const end = () => {
    isHeld = false
  }
  holder.on('error', end).on('exit', end)
  await Promise.race([once(holder.stdout, 'data'), once(holder, 'close')])
  holder.stdout.destroy()
  holder.unref()
  const { pid } = holder
  return {
    enter: (cwd) =>
      isHeld && pid !== undefined ? ['/usr/bin/nsenter', `--mount=/proc/${pid}/ns/mnt`, `--wdns=${cwd}`] : undefined,
    [Symbol.dispose]: () => void holder.stdin.destroy(),
  }
}
