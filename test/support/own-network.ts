import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { CLONE, unshare } from '../../src/host/syscalls.ts'
import type { TestNode } from './daemon.ts'

/**
 * Takes this thread, and all programs and threads that it starts from now on, into a network namespace of its own, with nothing
 * in it but loopback: what they do to interfaces, routes and iptables is gone with them, and nobody else sees it.
 */
export function enterOwnNetwork(): void {
  unshare(CLONE.NEWNET)
  run('ip', 'link', 'set', 'lo', 'up')
}

/** What the kernel keeps of it is gone, as after a boot. */
export function emptyOwnNetwork(): void {
  for (const name of networkState().interfaces) {
    if (name !== 'lo') spawnSync('ip', ['link', 'del', name]) // Fails for one that goes with its other end.
  }
  assert.deepEqual(networkState().interfaces, ['lo'])
  for (const table of ['nat', 'filter']) for (const flag of ['-F', '-X']) run('iptables', '-t', table, flag)
}

/** Runs a program to its end. @returns what it printed */
export function run(program: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' })
  if (error) throw error
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${status}: ${stderr}`)
  return stdout
}

export interface NetworkState {
  /** Names of interfaces of this namespace. */
  interfaces: string[]
  /** Rules and chains of iptables that name a container or are made for one. */
  rules: string[]
}

/** What is in this network namespace. */
export function networkState(): NetworkState {
  const links = JSON.parse(run('ip', '-json', 'link')) as { ifname: string }[]
  const rules = [...run('iptables-save').split('\n'), ...run('ip6tables-save').split('\n')]
  return {
    interfaces: links.map(({ ifname }) => ifname),
    // Chains that are shared by all containers stay: CNI-FORWARD, CNI-HOSTPORT-DNAT and so on.
    rules: rules.filter(
      (rule) =>
        /CNI-DN-|CNI-[0-9a-f]{24}|\d+\.\d+\.\d+\.\d+\/32|:[\da-f]+\/128/.test(rule) && !rule.includes('127.0.0.1/32'),
    ),
  }
}

/** Of no container of the node is an interface, rule, namespace, address or record left. */
export async function assertNothingLeft({ state, root }: TestNode, bridges: readonly string[]): Promise<void> {
  const { interfaces, rules } = networkState()
  assert.deepEqual(rules, [])
  assert.deepEqual(
    interfaces.filter((name) => name !== 'lo' && !bridges.includes(name)),
    [],
  )
  assert.deepEqual(await readdir(join(state, 'netns')), [])
  const records = await readdir(join(root, 'networks', 'default'))
  assert.deepEqual(records, [])
  for (const network of await readdir(join(state, 'ipam')).catch(() => [])) {
    const files = await readdir(join(state, 'ipam', network))
    assert.deepEqual(
      files.filter((file) => /^[\da-f]+[.:]/.test(file)),
      [],
    )
  }
}
