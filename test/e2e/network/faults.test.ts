import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { unmount } from '../../../src/host/mounts.ts'
import { type CliNode, startCliNode } from '../../support/cli.ts'
import type { TestNode } from '../../support/daemon.ts'
import { events, eventually } from '../../support/faults.ts'
import { assertNothingLeft, enterOwnNetwork, networkState, run } from '../../support/own-network.ts'

enterOwnNetwork()

const ROUNDS = Number(process.env.PURSER_ROUNDS ?? 6)

let at: CliNode
let node: TestNode
let image: string
let plugins: string
let conf: string

before(async () => {
  at = await startCliNode()
  node = at.node
  image = at.image
  plugins = join(node.dir, 'plugins')
  conf = join(node.dir, 'net.d')
  await mkdir(plugins)
  await mkdir(conf)
  await configure([], plugins, '/opt/cni/bin', '/usr/lib/cni')
})
after(() => at[Symbol.asyncDispose]())

async function configure(more: string[], ...pluginDirs: string[]): Promise<void> {
  const dirs = [`confDir = ${JSON.stringify(conf)}`, `pluginDirs = ${JSON.stringify(pluginDirs)}`]
  await node.configure(['[network]', 'timeout = "2s"', ...dirs, ...more].join('\n'))
  await node.restart()
}

const ok = (...args: string[]) => at.ok(...args)
const refused = (...args: string[]) => at.refused(...args)

/** A network of one real bridge, and after it a plugin of the test's own. */
async function layOut(name: string, script: string): Promise<void> {
  await writeFile(join(plugins, name), `#!/bin/sh\n${script}\n`)
  await chmod(join(plugins, name), 0o755)
  const ipam = { type: 'host-local', dataDir: join(node.state, 'ipam'), ranges: [[{ subnet: '10.66.0.0/24' }]] }
  const bridge = { type: 'bridge', bridge: 'pt-laid-out', isGateway: true, ipMasq: true, ipam }
  const list = { cniVersion: '0.4.0', name, plugins: [bridge, { type: name }] }
  await writeFile(join(conf, `${name}.conflist`), JSON.stringify(list))
}

const LAID_OUT = ['pt-laid-out']
/** What a plugin prints that changes nothing. */
const PASS = `input=$(cat); [ "$CNI_COMMAND" = ADD ] && printf '%s' "$input" | jq .prevResult; true`

test('a plugin that fails, or never answers, fails the container in its own words, and what was added is taken back', async () => {
  await layOut(
    'failing',
    `cat >/dev/null; [ "$CNI_COMMAND" = ADD ] || exit 0
echo '{"cniVersion":"0.4.0","code":100,"msg":"the moon is in the way","details":"full"}'; exit 1`,
  )
  const said = await refused('run', '--rm', '--network', 'failing', image, 'true')
  assert.match(said, /network failing: plugin failing failed to add the container: the moon is in the way; full/)
  await at.removeAll()
  await assertNothingLeft(node, LAID_OUT)
  await layOut('hanging', 'cat >/dev/null; [ "$CNI_COMMAND" = ADD ] || exit 0; exec sleep 60')
  assert.match(
    await refused('run', '--rm', '--network', 'hanging', image, 'true'),
    /plugin hanging .*took more than 2 s/,
  )
  await at.removeAll()
  await assertNothingLeft(node, LAID_OUT)
})

test('a plugin that is missing is named, with where it was looked for', async () => {
  await writeFile(
    join(conf, 'missing.conflist'),
    JSON.stringify({ cniVersion: '1.0.0', name: 'missing', plugins: [{ type: 'no-such-plugin' }] }),
  )
  const said = await refused('run', '--rm', '--network', 'missing', image, 'true')
  assert.match(
    said,
    /network missing needs the CNI plugin no-such-plugin, which is not in .*\/plugins or \/opt\/cni\/bin or \/usr\/lib\/cni/,
  )
  await writeFile(join(conf, 'broken.conflist'), '{"name":"broken","cniVersion":"0.1.0","plugins":[{"type":"bridge"}]}')
  assert.match(await refused('run', '--rm', '--network', 'broken', image, 'true'), /broken\.conflist: cniVersion/)
  await at.removeAll()
})

test('a network laid out for CNI is used; a plugin that cannot take a container out is asked again', async () => {
  const broken = join(node.dir, 'broken')
  await layOut(
    'passing',
    `if [ "$CNI_COMMAND" = DEL ] && [ -e ${broken} ]; then cat >/dev/null; echo '{"code":7,"msg":"not today"}'; exit 1; fi
${PASS}`,
  )
  await ok('run', '-d', '--name', 'in', '--network', 'passing', image, 'sleep', '600')
  await writeFile(broken, '')
  await ok('rm', '-f', 'in')
  assert.deepEqual(
    networkState().interfaces.filter((name) => name.startsWith('veth')),
    [],
  )
  assert.deepEqual(await readdir(join(node.root, 'networks/default')), ['in.json'])
  assert.match(await node.logs(), /not today/)
  await writeFile(join(plugins, 'passing'), `#!/bin/sh\n${PASS}\n`)
  await node.restart()
  await assertNothingLeft(node, LAID_OUT)
})

test('a container ends, and leaves nothing, when half of its network is gone', async () => {
  await ok('network', 'create', 'half')
  const bridge = JSON.parse(await ok('network', 'inspect', 'half'))[0].bridge
  await ok('run', '-d', '--name', 'h1', '--network', 'half', '-p', '8081:80', image, 'sleep', '600')
  await ok('run', '-d', '--name', 'h2', '--network', 'half', image, 'sleep', '600')
  assert.notDeepEqual(networkState().rules, [])
  unmount(join(node.state, 'netns/default__h1'))
  await ok('rm', '-f', 'h1', 'h2')
  await assertNothingLeft(node, [...LAID_OUT, bridge])
  await ok('network', 'rm', 'half')
})

test('a flushed firewall is an event, told by ps and the doctor until it is mended; addresses of nobody are given back', async () => {
  await ok('network', 'create', 'checked')
  const bridge = JSON.parse(await ok('network', 'inspect', 'checked'))[0].bridge
  await ok('run', '-d', '--name', 'seen', '--network', 'checked', '-p', '8082:80', image, 'sleep', '600')
  await configure(['checkEvery = "200ms"'], plugins, '/opt/cni/bin', '/usr/lib/cni')
  await eventually(
    () => readFile(join(node.root, 'networks/default/seen.json'), 'utf8'),
    (record) => record.includes('"inOrderFor"'),
  )
  const changes = async () =>
    (await events(node, 'task/seen')).map(({ type }) => type).filter((type) => /degraded|restored/.test(type))
  assert.deepEqual(await changes(), [])
  const rules = run('iptables-save', '-t', 'filter')
  run('iptables', '-t', 'filter', '-F')
  await eventually(changes, (found) => found.length > 0)
  assert.match(await ok('ps'), /network checked degraded/)
  const doctor = await node.cli('task', 'doctor')
  assert.match(doctor.stdout + doctor.stderr, /network checked is not as it was made.*firewall/s)
  assert.deepEqual(spawnSync('iptables-restore', ['-T', 'filter'], { input: rules }).status, 0)
  await eventually(changes, (found) => found.length > 1)
  assert.deepEqual(await changes(), ['task.network-degraded', 'task.network-restored'])
  await configure([], plugins, '/opt/cni/bin', '/usr/lib/cni')

  const ipam = join(node.state, 'ipam/default__checked')
  await writeFile(join(ipam, '10.89.200.9'), 'default__long-gone\r\neth0')
  const garbage = await ok('gc', '--dry-run')
  assert.match(garbage, /10\.89\.200\.9/)
  assert.equal(JSON.parse(await ok('gc')).networkCount, 1)
  await at.removeAll()
  await assertNothingLeft(node, [...LAID_OUT, bridge])
  await ok('network', 'rm', 'checked')
})

test('a daemon that is killed at any moment of run, connect and rm leaves nothing of a network', async (t) => {
  await ok('network', 'create', 'storm', 'gale')
  const bridges: string[] = JSON.parse(await ok('network', 'inspect', 'storm', 'gale')).map(
    ({ bridge }: { bridge: string }) => bridge,
  )
  for (let round = 0; round < ROUNDS; round++) {
    const delayMs = randomInt(1500)
    const running = ['a', 'b'].map((id) =>
      node.cli(
        'run',
        '-d',
        '--name',
        `${id}${round}`,
        '--network',
        'storm',
        '-p',
        `${9000 + round}${id === 'a' ? 1 : 2}:80`,
        image,
        'sleep',
        '600',
      ),
    )
    if (round > 0) {
      running.push(node.cli('network', 'connect', 'gale', `b${round - 1}`))
      running.push(node.cli('rm', '-f', `a${round - 1}`, `b${round - 1}`))
    }
    await node.kill9After(delayMs)
    await Promise.all(running)
    await node.restart()
    t.diagnostic(`killed after ${delayMs} ms`)
  }
  await at.removeAll()
  await assertNothingLeft(node, [...LAID_OUT, ...bridges])
  await ok('network', 'rm', 'storm', 'gale')
  const attached = (await events(node)).filter(({ type }) => type === 'task.network-attached')
  assert.ok(attached.length > 0)
})
