import { existsSync } from 'node:fs'
import { join } from 'node:path'

const UNIFIED = '/sys/fs/cgroup/unified'

/** Whether cgroups are laid out as systemd's hybrid: a hierarchy of version 2 beside those of version 1. @see cgroups(7) */
export const isHybrid = (): boolean => existsSync(join(UNIFIED, 'cgroup.controllers'))

/**
 * What hides the second hierarchy, on the host's side of which nothing changes: mounts of the new namespace stay in it, those
 * of the host go on to arrive. An empty file system takes the place, for crun makes cgroups there whatever it finds.
 */
const HIDE = `umount ${UNIFIED} && mount -t tmpfs -o size=64k,mode=755 purser ${UNIFIED} && exec "$@"`

/** Put before a command line, runs it in a mount namespace where cgroups have version 1 only. */
export const WITHOUT_UNIFIED: readonly string[] = [
  '/usr/bin/unshare',
  '--mount',
  '--propagation',
  'slave',
  '/bin/sh',
  '-c',
  HIDE,
  'sh',
]
