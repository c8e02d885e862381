import assert from 'node:assert/strict'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { z } from 'zod'
import { isHybrid } from '../../src/shim/runtime-namespace.ts'
import { startCliNode } from '../support/cli.ts'
import type { TestNode } from '../support/daemon.ts'
import { checkBooks, taskOf } from '../support/faults.ts'
import { makeOddShim } from '../support/odd-shim.ts'
import { temporaryDirectory } from '../support/trees.ts'

const told = async (node: TestNode) => {
  const { defaultRuntime, crun } = (await node.http('GET', '/v1/info')).json as Record<string, unknown>
  return { defaultRuntime, crun }
}

const runtimeOf = async (node: TestNode, id: string) => (await taskOf(node, id)).runtime

test('crun is the default where it works, with the same filter for every container; --runtime says otherwise', async () => {
  await using at = await startCliNode()
  const { node, image } = at
  const { defaultRuntime, crun } = await told(node)
  assert.equal(defaultRuntime, 'crun')
  assert.match(String(crun), isHybrid() ? /^works, in a mount namespace without/ : /^works$/)
  // The second is given the program that the profile of the first was compiled to.
  const script = 'grep Seccomp: /proc/self/status; mount -t tmpfs x /tmp; unshare 2>&1; exec sleep 1000'
  const programs: Buffer[] = []
  for (const id of ['c0', 'c1']) {
    assert.equal((await at.cli('run', '-d', '--name', id, image, 'sh', '-c', script)).exitCode, 0)
    assert.equal(await runtimeOf(node, id), 'crun')
    assert.match((await at.cli('exec', id, 'grep', 'Seccomp:', '/proc/1/status')).stdout, /Seccomp:\t2/)
    programs.push(await readFile(join(node.state, 'runc/default', id, 'seccomp.bpf')))
    const config = JSON.parse(await readFile(join(node.state, 'tasks/default', id, 'config.json'), 'utf8'))
    assert.equal(config.annotations !== undefined, id === 'c1')
  }
  assert.ok(programs[1] !== undefined && programs[0]?.equals(programs[1]))
  assert.equal((await at.cli('run', '-d', '--name', 'r', '--runtime', 'runc', image, 'sleep', '1000')).exitCode, 0)
  assert.equal(await runtimeOf(node, 'r'), 'runc')
})

test("users are those of the container's own files, whichever runtime it has and wherever its root is mounted", async () => {
  await using at = await startCliNode()
  const { image } = at
  for (const runtime of ['crun', 'runc']) {
    const script = 'echo "late:x:4242:4242::/:/bin/sh" >> /etc/passwd; exec sleep 1000'
    const run = () =>
      at.cli('run', '-d', '--name', runtime, '--runtime', runtime, '-u', 'root', image, 'sh', '-c', script)
    assert.equal((await run()).exitCode, 0)
    assert.equal((await at.cli('run', '--rm', '--runtime', runtime, '-u', 'user', image, 'id', '-u')).stdout, '1000\n')
    assert.equal((await at.cli('exec', '-u', 'late', runtime, 'id', '-u')).stdout, '4242\n')
    assert.notEqual((await at.cli('run', '--rm', '--runtime', runtime, '-u', 'late', image, 'id')).exitCode, 0)
  }
})

test('a mount that is shared back with the host has a runtime that can', async () => {
  await using at = await startCliNode()
  const { node, image } = at
  const source = join(node.dir, 'shared')
  await mkdir(source)
  await at.cli('run', '-d', '--name', 'c', '-v', `${source}:/s:rshared`, image, 'sleep', '1000')
  await at.cli('run', '-d', '--name', 'd', '-v', `${source}:/s:rslave`, image, 'sleep', '1000')
  assert.equal(await runtimeOf(node, 'c'), isHybrid() ? 'runc' : 'crun')
  assert.equal(await runtimeOf(node, 'd'), 'crun')
})

test('the default can be configured', async () => {
  await using at = await startCliNode({ config: 'defaultRuntime = "runc"' })
  assert.equal((await told(at.node)).defaultRuntime, 'runc')
  await at.cli('run', '-d', '--name', 'c', at.image, 'sleep', '1000')
  assert.equal(await runtimeOf(at.node, 'c'), 'runc')
})

test('a runtime is what the configuration, a type or a path says; one with known escapes or that is missing is refused', async () => {
  using own = temporaryDirectory()
  const odd = makeOddShim(join(own.path, 'odd'), { answer: 'binary', takes: 'params', protocol: 'grpc' })
  const old = join(own.path, 'runc')
  await writeFile(old, '#!/bin/sh\necho "runc version 1.1.11"; echo "commit: v1.1.11-0-g4bccb38c"\n', { mode: 0o755 })
  const config = [
    `[runtime.odd]\nshim = ${JSON.stringify(odd.path)}`,
    `[runtime.old]\nbinary = ${JSON.stringify(old)}`,
    '[runtime.gvisor]\ntype = "io.containerd.no-such.v1"\noptions = { configPath = "/etc/runsc.toml" }',
    '[runtime.risky]\nallowVulnerable = true',
  ]
  await using at = await startCliNode({ config: config.join('\n') })
  const { node, image } = at
  const { items } = z
    .object({
      items: z.array(
        z.object({ name: z.string(), verdict: z.string(), isDefault: z.boolean(), reasons: z.array(z.string()) }),
      ),
    })
    .parse((await node.http('GET', '/v1/runtimes')).json)
  const of = (name: string) => items.find((item) => item.name === name)
  assert.deepEqual(of('crun'), { name: 'crun', verdict: 'ok', isDefault: true, reasons: [] })
  assert.match(of('runc')?.verdict ?? '', /^(?:ok|warned)$/, 'the one that is installed is used')
  assert.equal(of('gvisor')?.verdict, 'missing')
  assert.equal(of('old')?.verdict, 'refused')
  assert.match(of('old')?.reasons.join() ?? '', /runc 1\.1\.11 has CVE-2024-21626/)
  const table = (await at.cli('runtime', 'ls')).stdout
  assert.match(table, /^crun \(default\) +io\.containerd\.runc\.v2 +\S+crun +\S+ +\S+ +v[23] +ok$/m)
  assert.match(table, /^gvisor .* missing +runtime gvisor needs containerd-shim-no-such-v1, which is not in/m)

  const run = (runtime: string) =>
    at.cli('run', '--rm', '--runtime', runtime, image, 'sh', '-c', 'echo from $0; exit 5')
  for (const [runtime, says] of [
    ['old', /runtime old is not used: runc 1\.1\.11 has CVE-2024-21626 .*; .*\[runtime\.old\] allowVulnerable = true/],
    ['gvisor', /needs containerd-shim-no-such-v1/],
    ['none', /"none" is not a runtime/],
    [`${own.path}/absent`, /absent, which is not there/],
  ] as const) {
    const { exitCode, stderr } = await run(runtime)
    assert.equal(exitCode, 125, stderr)
    assert.match(stderr, says)
  }
  for (const runtime of ['odd', odd.path, 'io.containerd.runc.v2', 'risky']) {
    const { exitCode, stdout, stderr } = await run(runtime)
    assert.deepEqual([exitCode, stdout], [5, 'from sh\n'], stderr)
  }
  const checked = await at.cli('runtime', 'check', odd.path)
  assert.equal(checked.exitCode, 0, checked.stderr)
  assert.match(checked.stdout, /^speaks +task API v3 by grpc, after \d+ ms$/m)
  assert.match((await at.cli('runtime', 'check', 'crun')).stdout, /^speaks +task API v2 by ttrpc/m)
  const refused = await at.cli('runtime', 'check', 'old')
  assert.deepEqual([refused.exitCode, /CVE-2024-21626/.test(refused.stdout)], [65, true])
  await checkBooks(node)
})
