/**
 * The parts of an OCI runtime configuration (`config.json`) that Purser writes and reads back.
 *
 * @see runtime-spec 1.0.2, config.md and config-linux.md
 */
export interface Spec {
  ociVersion: string
  process: Process
  root: { path: string; readonly?: boolean }
  hostname?: string
  mounts: Mount[]
  hooks?: Hooks
  linux: Linux
  annotations?: Record<string, string>
}

export interface Process {
  terminal?: boolean
  consoleSize?: { height: number; width: number }
  user: User
  args: string[]
  env: string[]
  cwd: string
  capabilities: Capabilities
  rlimits: Rlimit[]
  noNewPrivileges: boolean
  oomScoreAdj?: number
  apparmorProfile?: string
}

export interface User {
  uid: number
  gid: number
  additionalGids?: number[]
}

export interface Capabilities {
  bounding: string[]
  effective?: string[]
  permitted?: string[]
  inheritable?: string[]
  ambient?: string[]
}

export interface Rlimit {
  type: string
  hard: number
  soft: number
}

export interface Mount {
  destination: string
  type: string
  source: string
  options: string[]
}

export interface Linux {
  namespaces: Namespace[]
  cgroupsPath: string
  resources: Resources
  uidMappings?: IdMapping[]
  gidMappings?: IdMapping[]
  devices?: Device[]
  sysctl?: Record<string, string>
  seccomp?: Seccomp
  maskedPaths: string[]
  readonlyPaths: string[]
}

export type Hooks = {
  [Name in 'prestart' | 'createRuntime' | 'createContainer' | 'startContainer' | 'poststart' | 'poststop']?: Hook[]
}

/** A program that the runtime calls at a point of a container's life. */
export interface Hook {
  path: string
  args?: string[]
  env?: string[]
  /** Seconds. */
  timeout?: number
}

export interface Namespace {
  type: 'pid' | 'ipc' | 'uts' | 'mount' | 'network' | 'cgroup' | 'user'
  /** A namespace to join; without it a new one is made. */
  path?: string
}

/** So many ids of the container, from one on, are those of the host from another one on. */
export interface IdMapping {
  containerID: number
  hostID: number
  size: number
}

export interface Resources {
  devices: DeviceRule[]
  memory?: { limit?: number; reservation?: number; swap?: number; disableOOMKiller?: boolean }
  cpu?: { shares?: number; quota?: number; period?: number; cpus?: string; mems?: string }
  pids?: { limit: number }
  blockIO?: BlockIo
  hugepageLimits?: { pageSize: string; limit: number }[]
}

export interface BlockIo {
  weight?: number
  throttleReadBpsDevice?: ThrottledDevice[]
  throttleWriteBpsDevice?: ThrottledDevice[]
  throttleReadIOPSDevice?: ThrottledDevice[]
  throttleWriteIOPSDevice?: ThrottledDevice[]
}

export interface ThrottledDevice {
  major: number
  minor: number
  rate: number
}

/** Absent major or minor means every number. */
export interface DeviceRule {
  allow: boolean
  type?: 'a' | 'b' | 'c'
  major?: number
  minor?: number
  /** Of `r` (read), `w` (write) and `m` (mknod). */
  access: string
}

export interface Device {
  path: string
  type: 'b' | 'c' | 'u' | 'p'
  major: number
  minor: number
  fileMode?: number
  uid?: number
  gid?: number
}

export interface Seccomp {
  defaultAction: SeccompAction
  defaultErrnoRet?: number
  flags?: string[]
  architectures?: string[]
  syscalls: SeccompRule[]
}

export type SeccompAction =
  `SCMP_ACT_${'ALLOW' | 'ERRNO' | 'KILL' | 'KILL_PROCESS' | 'KILL_THREAD' | 'LOG' | 'TRACE' | 'TRAP'}`

export interface SeccompRule {
  names: string[]
  action: SeccompAction
  errnoRet?: number
  args?: SeccompArg[]
}

export interface SeccompArg {
  index: number
  value: number
  valueTwo?: number
  op: `SCMP_CMP_${'NE' | 'LT' | 'LE' | 'EQ' | 'GE' | 'GT' | 'MASKED_EQ'}`
}
