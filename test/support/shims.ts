import { randomBytes } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { rm, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { pino } from 'pino'
import { unmount } from '../../src/host/mounts.ts'
import type { TaskMount } from '../../src/shim/shim.ts'
import { Shims, type TaskRequest } from '../../src/shim/shims.ts'
import { listenForTaskEvents, type TaskEvent } from '../../src/shim/task-events.ts'

export const SEARCH_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
export const RUNC = 'io.containerd.runc.v2'

const APPLETS = [
  'cat',
  'dd',
  'echo',
  'head',
  'id',
  'ls',
  'mkdir',
  'printf',
  'seq',
  'sh',
  'sleep',
  'stty',
  'tr',
  'true',
  'yes',
]

/** A root file system with busybox and nothing else. */
export function makeRootfs(dir: string): string {
  const bin = join(dir, 'bin')
  for (const name of ['bin', 'dev', 'proc', 'sys', 'tmp', 'etc']) mkdirSync(join(dir, name), { recursive: true })
  copyFileSync('/bin/busybox', join(bin, 'busybox'))
  for (const applet of APPLETS) symlinkSync('busybox', join(bin, applet))
  return dir
}

export interface TestSpec {
  args: string[]
  terminal?: boolean
}

const DEFAULT_CAPABILITIES = ['CAP_KILL', 'CAP_SETUID', 'CAP_SETGID']

export function testProcess({ args, terminal = false }: TestSpec): object {
  return {
    terminal,
    user: { uid: 0, gid: 0 },
    args,
    env: ['PATH=/bin'],
    cwd: '/',
    capabilities: { bounding: DEFAULT_CAPABILITIES, effective: DEFAULT_CAPABILITIES, permitted: DEFAULT_CAPABILITIES },
    noNewPrivileges: true,
  }
}

export function testConfig(spec: TestSpec, cgroupsPath: string): object {
  return {
    ociVersion: '1.0.2',
    process: testProcess(spec),
    root: { path: 'rootfs', readonly: false },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'size=65536k'] },
      {
        destination: '/dev/pts',
        type: 'devpts',
        source: 'devpts',
        options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'],
      },
    ],
    linux: { cgroupsPath, namespaces: ['pid', 'ipc', 'uts', 'mount', 'network'].map((type) => ({ type })) },
  }
}

/** A state directory of the test's own, with shims in a namespace of its own; disposal leaves nothing behind. */
export class ShimHost implements AsyncDisposable {
  readonly dir = mkdtempSync(join(tmpdir(), 'purser-shim-'))
  readonly namespace = `t${randomBytes(5).toString('hex')}`
  readonly events: TaskEvent[] = []
  readonly rootfs: string
  readonly shims: Shims
  readonly #tasks = new Map<string, TaskRequest>()
  readonly #eventWaiters = new Set<() => void>()
  #server: AsyncDisposable | undefined

  constructor() {
    this.rootfs = makeRootfs(join(this.dir, 'image'))
    this.shims = this.newShims()
  }

  static async start(): Promise<ShimHost> {
    const host = new ShimHost()
    host.#server = await listenForTaskEvents({
      socketPath: host.eventsAddress,
      logger: pino({ enabled: false }),
      onEvent: (event) => {
        host.events.push(event)
        for (const wake of host.#eventWaiters) wake()
      },
    })
    return host
  }

  get eventsAddress(): string {
    return join(this.dir, 'events.ttrpc')
  }

  newShims(more: Partial<ConstructorParameters<typeof Shims>[0]> = {}): Shims {
    const logger = pino({ enabled: false })
    return new Shims({
      stateDir: this.dir,
      eventsAddress: this.eventsAddress,
      runtimes: {},
      searchPath: SEARCH_PATH,
      logger,
      ...more,
    })
  }

  /** A bundle for `id`; its rootfs is an overlay that the shim mounts. */
  bundle(id: string, spec: TestSpec): TaskRequest & { rootfs: TaskMount[] } {
    const bundle = join(this.dir, 'tasks', id)
    for (const name of ['', '../../upper', '../../work'])
      mkdirSync(join(bundle, name === '' ? '' : `${name}-${id}`), { recursive: true, mode: 0o711 })
    const config = testConfig(spec, this.cgroupsPath(id))
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(config))
    const task = { namespace: this.namespace, id, bundle, runtime: RUNC }
    this.#tasks.set(id, task)
    const upper = join(this.dir, `upper-${id}`)
    const work = join(this.dir, `work-${id}`)
    const options = [`lowerdir=${this.rootfs}`, `upperdir=${upper}`, `workdir=${work}`]
    return { ...task, rootfs: [{ type: 'overlay', source: 'overlay', options }] }
  }

  cgroupsPath(id: string): string {
    return `/purser-test/${this.namespace}/${id}`
  }

  async event(matches: (event: TaskEvent) => boolean, signal: AbortSignal): Promise<TaskEvent> {
    for (;;) {
      const found = this.events.find(matches)
      if (found) return found
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      const onAbort = () => reject(signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      this.#eventWaiters.add(resolve)
      await promise.finally(() => this.#eventWaiters.delete(resolve))
    }
  }

  /** What tasks of this host still have on the machine, by name: nothing, when all was cleaned up. */
  remains(): string[] {
    const found: string[] = []
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      const args = readOrEmpty(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')
      const cgroups = readOrEmpty(`/proc/${pid}/cgroup`)
      if (isZombie(pid)) continue
      if (args.includes(this.namespace) || cgroups.includes(this.namespace)) found.push(`process ${pid}: ${args}`)
    }
    for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
      if (line.includes(this.dir)) found.push(`mount ${line}`)
    }
    for (const controller of existsSync('/sys/fs/cgroup') ? readdirSync('/sys/fs/cgroup') : []) {
      for (const id of this.#tasks.keys()) {
        const dir = join('/sys/fs/cgroup', controller, this.cgroupsPath(id))
        if (existsSync(dir)) found.push(`cgroup ${dir}`)
      }
    }
    for (const id of this.#tasks.keys()) {
      if (existsSync(join(this.dir, 'runc', this.namespace, id))) found.push(`runc state of ${id}`)
    }
    return found
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const task of this.#tasks.values()) {
      await this.shims.removeRemains({ ...task, signal: AbortSignal.timeout(20_000) })
      unmount(join(task.bundle, 'rootfs'))
    }
    await this.#server?.[Symbol.asyncDispose]()
    await rm(this.dir, { recursive: true, force: true })
    for (const controller of readdirSync('/sys/fs/cgroup')) {
      await rmdir(join('/sys/fs/cgroup', controller, 'purser-test', this.namespace)).catch(() => {})
    }
  }
}

/** Polls what the kernel gives no notice of. */
export async function eventually(holds: () => boolean, signal: AbortSignal): Promise<void> {
  while (!holds()) await delay(5, undefined, { signal })
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function isZombie(pid: string): boolean {
  return /\) [ZX] /.test(readOrEmpty(`/proc/${pid}/stat`))
}
