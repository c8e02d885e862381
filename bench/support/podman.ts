import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { removeLeftovers } from '../../test/support/leftovers.ts'
import { run } from './run.ts'

const PODMAN = '/usr/bin/podman'

/** Debian's podman: needed for nothing else, and measured where it is there. */
export const hasPodman: boolean = existsSync(PODMAN)

export interface Podman extends AsyncDisposable {
  /** @returns what it wrote @throws Error with stderr, when it fails */
  run(...args: string[]): Promise<string>
}

/** A podman with directories of its own under `parent`. It has no daemon: its start is part of all that it does. */
export async function startPodman(parent: string): Promise<Podman> {
  const dir = await mkdtemp(join(parent, 'pm-'))
  const dirs = ['--root', `${dir}/root`, '--runroot', `${dir}/run`, '--storage-driver', 'overlay']
  // crun knows no cgroups of both versions, and no systemd need run here.
  const own = [...dirs, '--runtime', 'runc', '--cgroup-manager', 'cgroupfs']
  return {
    run: (...args) => run(PODMAN, [...own, ...args]),
    async [Symbol.asyncDispose]() {
      await removeLeftovers(dir, `${dir}/run`)
      await rm(dir, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}
