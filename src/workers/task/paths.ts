import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { stdioDir } from '../../shim/stdio.ts'
import { CgroupLayout } from './cgroup-layout.ts'

interface Bundle {
  namespace: string
  id: string
  bundle: string
}

/** @param dir holds them by namespace and id */
async function bundlesIn(dir: string): Promise<Bundle[]> {
  const entries = (of: string) => readdir(of).catch(() => [])
  const found = await Promise.all(
    (await entries(dir)).map(async (namespace) =>
      (await entries(join(dir, namespace))).map((id) => ({ namespace, id, bundle: join(dir, namespace, id) })),
    ),
  )
  return found.flat()
}

/** Where a task's files and cgroup are. Bundles are gone after a reboot, as their tasks are; logs stay with the container. */
export class TaskPaths {
  readonly #root: string
  readonly #state: string
  readonly cgroups: CgroupLayout

  constructor(root: string, state: string, cgroups = new CgroupLayout(state)) {
    this.#root = root
    this.#state = state
    this.cgroups = cgroups
  }

  /** config.json, rootfs and the shim's files. */
  bundle(namespace: string, id: string): string {
    return join(this.#state, 'tasks', namespace, id)
  }

  /** All bundles of tasks on the host. */
  bundles(): Promise<Bundle[]> {
    return bundlesIn(join(this.#state, 'tasks'))
  }

  /** The shim, namespaces and name files of a sandbox: gone after a reboot, as it is. */
  sandbox(namespace: string, id: string): string {
    return join(this.#state, 'sandboxes', namespace, id)
  }

  /** Of all sandboxes on the host. */
  sandboxes(): Promise<Bundle[]> {
    return bundlesIn(join(this.#state, 'sandboxes'))
  }

  /** FIFOs of the first process, or of an exec. */
  stdio(namespace: string, id: string, execId?: string): string {
    return stdioDir(this.bundle(namespace, id), execId)
  }

  /** What is kept as long as the container. */
  container(namespace: string, id: string): string {
    return join(this.#root, 'containers', namespace, id)
  }

  /** `hosts`, `resolv.conf`, `hostname` of a container in a network. */
  nameFile(namespace: string, id: string, name: string): string {
    return join(this.container(namespace, id), name)
  }

  /** A volume that the container's image declares. */
  volume(namespace: string, id: string, name: string): string {
    return join(this.container(namespace, id), 'volumes', name)
  }

  /** Its checkpoints, each in a directory of its name. */
  checkpoints(namespace: string, id: string): string {
    return join(this.container(namespace, id), 'checkpoints')
  }

  log(namespace: string, id: string): string {
    return join(this.container(namespace, id), 'log')
  }

  /** What a job keeps: logs and artifacts as long as it is known, the workspace of an attempt while that is made. */
  job(namespace: string, id: string): string {
    return join(this.#root, 'jobs', namespace, id)
  }

  attempt(namespace: string, id: string, attempt: number): string {
    return join(this.job(namespace, id), String(attempt))
  }

  /** Below each controller's root. */
  cgroup(namespace: string, id: string): string {
    return this.cgroups.path(namespace, id)
  }

  /** What runc leaves of a cgroup: the directories above it, innermost first. */
  cgroupParents(namespace: string): string[] {
    return this.cgroups.parents(namespace)
  }
}
