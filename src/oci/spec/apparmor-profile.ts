/** Of every container that is not privileged and asks for no other one, where AppArmor is on. */
export const APPARMOR_DEFAULT = 'purser-default'

/** @see containerd, contrib/apparmor; apparmor.d(5) */
export const APPARMOR_DEFAULT_TEXT = `#include <tunables/global>

profile ${APPARMOR_DEFAULT} flags=(attach_disconnected,mediate_deleted) {
  #include <abstractions/base>

  network,
  capability,
  file,
  umount,

  # The host, and the runtime where it has a profile of its own, may send signals.
  signal (receive) peer=unconfined,
  signal (receive) peer={runc,crun},
  signal (send,receive) peer=${APPARMOR_DEFAULT},
  ptrace (trace,tracedby,read,readby) peer=${APPARMOR_DEFAULT},

  # Of /proc only what is of a process, and shared memory's settings.
  deny @{PROC}/* w,
  deny @{PROC}/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9]*}/** w,
  deny @{PROC}/sys/[^k]** w,
  deny @{PROC}/sys/kernel/{?,??,[^s][^h][^m]**} w,
  deny @{PROC}/sysrq-trigger rwklx,
  deny @{PROC}/mem rwklx,
  deny @{PROC}/kmem rwklx,
  deny @{PROC}/kcore rwklx,

  deny mount,

  # Of /sys only cgroups.
  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}
`
