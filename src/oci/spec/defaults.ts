import type { DeviceRule, Mount, Namespace, Rlimit } from './schema.ts'

/**
 * containerd's defaults for a Linux container.
 *
 * @see containerd, oci/spec.go and oci/mounts.go
 */
export const DEFAULT_CAPABILITIES: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
]

/** Hidden: they tell of the host, or let it be steered. */
export const MASKED_PATHS: readonly string[] = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
]

export const READONLY_PATHS: readonly string[] = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
]

export const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** The soft limit and the hard one. Lowering needs no capability, so this holds without CAP_SYS_RESOURCE too. */
export const DEFAULT_RLIMITS: readonly Rlimit[] = [{ type: 'RLIMIT_NOFILE', hard: 1024, soft: 1024 }]

const mount = (destination: string, type: string, source: string, options: string): Mount => ({
  destination,
  type,
  source,
  options: options.split(' '),
})

/** What every container has mounted, parents first. */
export const defaultMounts = (): Mount[] => [
  mount('/proc', 'proc', 'proc', 'nosuid noexec nodev'),
  mount('/dev', 'tmpfs', 'tmpfs', 'nosuid strictatime mode=755 size=65536k'),
  mount('/dev/pts', 'devpts', 'devpts', 'nosuid noexec newinstance ptmxmode=0666 mode=0620 gid=5'),
  mount('/dev/shm', 'tmpfs', 'shm', 'nosuid noexec nodev mode=1777 size=65536k'),
  mount('/dev/mqueue', 'mqueue', 'mqueue', 'nosuid noexec nodev'),
  mount('/sys', 'sysfs', 'sysfs', 'nosuid noexec nodev ro'),
  mount('/sys/fs/cgroup', 'cgroup', 'cgroup', 'nosuid noexec nodev relatime ro'),
]

/**
 * @param network `host` shares the host's network; a path joins the namespace there; otherwise one is made, with nothing in it
 *   but loopback
 * @param cgroupVersion with version 1 a cgroup namespace would hide the paths that tools inside read
 */
export const defaultNamespaces = (network: 'none' | 'host' | { path: string }, cgroupVersion: 1 | 2): Namespace[] => [
  { type: 'pid' },
  { type: 'ipc' },
  { type: 'uts' },
  { type: 'mount' },
  ...(network === 'host' ? [] : [{ type: 'network', ...(network === 'none' ? {} : network) } as const]),
  ...(cgroupVersion === 2 ? [{ type: 'cgroup' } as const] : []),
]

/** `null zero full random urandom tty console ptmx` and the ptys; all else is denied. The runtime makes the nodes. */
export const defaultDeviceRules = (): DeviceRule[] => [
  { allow: false, access: 'rwm' },
  ...[3, 5, 7, 8, 9].map((minor): DeviceRule => ({ allow: true, type: 'c', major: 1, minor, access: 'rwm' })),
  ...[0, 1, 2].map((minor): DeviceRule => ({ allow: true, type: 'c', major: 5, minor, access: 'rwm' })),
  { allow: true, type: 'c', major: 136, access: 'rwm' },
]
