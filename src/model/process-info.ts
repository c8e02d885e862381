/** A process, as `ps` shows it. */
export interface ProcessInfo {
  pid: number
  ppid: number
  /** Effective, as the host has it. */
  uid: number
  user: string
  /** A letter: R, S, D, T, Z … */
  state: string
  /** `pts/0`, or `?` for none. */
  tty: string
  cpuMs: number
  /** Of one CPU, since it began. */
  cpuPercent: number
  /** RFC 3339, UTC. */
  startedAt: string
  virtualBytes: number
  residentBytes: number
  command: string
  args: string
}
