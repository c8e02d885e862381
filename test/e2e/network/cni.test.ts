import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type CliNode, startCliNode } from '../../support/cli.ts'
import type { TestNode } from '../../support/daemon.ts'
import { events } from '../../support/faults.ts'
import { assertNothingLeft, enterOwnNetwork, networkState } from '../../support/own-network.ts'

enterOwnNetwork()

let at: CliNode
let node: TestNode
let image: string

before(async () => {
  at = await startCliNode()
  node = at.node
  image = at.image
})
after(() => at[Symbol.asyncDispose]())

const ok = (...args: string[]) => at.ok(...args)
const refused = (...args: string[]) => at.refused(...args)

interface Inspected {
  task: { pid: number; interfaces: { name: string; addresses: string[]; mac: string; gateway: string }[] }
}

const inspect = async (id: string): Promise<Inspected> => JSON.parse(await ok('inspect', '--type', 'container', id))[0]

async function addressOf(id: string): Promise<string> {
  const { task } = await inspect(id)
  return task.interfaces[0]?.addresses[0]?.split('/')[0] ?? ''
}

const SERVE = ['sh', '-c', 'echo "hello from $HOSTNAME" > /index.html; exec busybox httpd -f -p 80 -h /']
/** As soon as it is served. */
const fetchInside = (url: string) => ['sh', '-c', `until busybox wget -q -O - ${url}; do sleep 0.05; done`]

async function fetchHere(url: string): Promise<string> {
  const deadline = Date.now() + 10_000
  while (true) {
    const answer = await fetch(url).then(
      (response) => response.text(),
      () => undefined,
    )
    if (answer !== undefined) return answer.trim()
    assert.ok(Date.now() < deadline, `${url} does not answer`)
    await delay(20)
  }
}

test('containers of a network reach each other, a published port leads into one, and nothing is left of them', async () => {
  await ok('network', 'create', 'blue')
  await ok('run', '-d', '--name', 'web', '--network', 'blue', '-p', '8080:80', image, ...SERVE)
  const web = await inspect('web')
  const address = await addressOf('web')
  assert.match(address, /^10\.89\.0\.\d+$/)
  assert.equal(web.task.interfaces[0]?.gateway, '10.89.0.1')
  assert.match(await ok('ps'), /0\.0\.0\.0:8080->80\/tcp/)
  assert.match(await ok('port', 'web'), /^80\/tcp -> 0\.0\.0\.0:8080\s*$/)
  assert.match(await ok('port', 'web', '80'), /^0\.0\.0\.0:8080\s*$/)
  assert.equal(
    await ok('run', '--rm', '--network', 'blue', image, ...fetchInside(`http://${address}/`)),
    'hello from web',
  )
  assert.equal(await fetchHere('http://10.89.0.1:8080/'), 'hello from web')
  assert.match(await refused('network', 'rm', 'blue'), /network blue is used by container web/)
  assert.match(
    await refused('run', '--rm', '--network', 'blue', '-p', '8080:81', image, 'true'),
    /8080\/tcp is published by container web/,
  )
  const shared = ['run', '--rm', '--network', 'container:web', image]
  assert.equal(await ok(...shared, ...fetchInside('http://127.0.0.1/')), 'hello from web')
  assert.match(await ok(...shared, 'cat', '/etc/hosts'), new RegExp(`^${address}\tweb$`, 'm'))
  await ok('rename', 'web', 'www')
  const renamed = ['run', '--rm', '--network', 'container:www', '--pid', 'container:www', image]
  assert.equal(await ok(...renamed, ...fetchInside('http://127.0.0.1/')), 'hello from web')
  const bridge = JSON.parse(await ok('network', 'inspect', 'blue'))[0].bridge
  assert.ok(networkState().interfaces.includes(bridge))
  await at.removeAll()
  await assertNothingLeft(node, [bridge])
  await ok('network', 'rm', 'blue')
  await assertNothingLeft(node, [])
})

test('ports are ranges, or chosen where that is left open; one that is taken is refused with who has it', async () => {
  await ok('network', 'create', 'ports')
  const start = (name: string, ...ports: string[]) =>
    ok('run', '-d', '--name', name, '--network', 'ports', ...ports.flatMap((each) => ['-p', each]), image, ...SERVE)
  await start('p1', '7000-7002:80-82', '7000-7001:53/udp', '127.0.0.1::80', '7100:90/sctp')
  const ports = (await ok('port', 'p1')).split('\n')
  const chosen = /^80\/tcp -> 127\.0\.0\.1:(\d+)$/.exec(ports.find((each) => each.includes('127.0.0.1')) ?? '')?.[1]
  assert.equal(await fetchHere(`http://127.0.0.1:${chosen}/`), 'hello from p1')
  assert.equal(await fetchHere('http://10.89.0.1:7000/'), 'hello from p1')
  assert.ok(ports.includes('53/udp -> 0.0.0.0:7000') && ports.includes('90/sctp -> 0.0.0.0:7100'))
  assert.match(await ok('ps'), /0\.0\.0\.0:7000-7002->80-82\/tcp/)
  await start('p2', '7000-7001:53/udp')
  assert.equal(await ok('port', 'p2', '53/udp'), '0.0.0.0:7001')
  const again = ['run', '--rm', '--network', 'ports', '-p']
  assert.match(await refused(...again, '7000-7001:53/udp', image, 'true'), /all ports of 7000-7001 are taken/)
  assert.match(
    await refused(...again, '127.0.0.1:7100:90/sctp', image, 'true'),
    /7100\/sctp is published by container p1/,
  )
  await using server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const taken = new RegExp(`port ${port}/tcp is taken on the host by process ${process.pid} `)
  assert.match(await refused(...again, `${port}:80`, image, 'true'), taken)
  await at.removeAll()
  await ok('network', 'rm', 'ports')
  await assertNothingLeft(node, [])
})

test('a network of both families gives addresses of both, a way out, and ports on either', async () => {
  await ok('network', 'create', '--ipv6', '--subnet', 'fd00:77::/64', 'dual')
  await ok('run', '-d', '--name', 'six', '--network', 'dual', '--ip6', 'fd00:77::9', '-p', '8080:80', image, ...SERVE)
  const { task } = await inspect('six')
  assert.match(task.interfaces[0]?.addresses.join(' ') ?? '', /^10\.89\.0\.\d+\/24 fd00:77::9\/64$/)
  const inside = await ok('exec', 'six', 'sh', '-c', 'ip -6 route; cat /etc/hosts')
  assert.match(inside, /^default via fd00:77::1 /m)
  assert.match(inside, /^fd00:77::9\tsix$/m)
  assert.match(await ok('port', 'six'), /^80\/tcp -> 0\.0\.0\.0:8080\n80\/tcp -> \[::\]:8080$/)
  for (const url of ['http://[fd00:77::9]/', 'http://10.89.0.1:8080/', 'http://[fd00:77::1]:8080/'])
    assert.equal(await fetchHere(url), 'hello from six', url)
  assert.equal(
    await ok('run', '--rm', '--network', 'dual', image, ...fetchInside('http://[fd00:77::9]/')),
    'hello from six',
  )
  const publish = ['run', '--rm', '--network', 'dual', '-p']
  assert.match(await refused(...publish, '[::1]:81:80', image, 'true'), /cannot be published on \[::1\]/)
  await ok('network', 'create', 'four')
  assert.match(
    await refused('run', '--rm', '--network', 'four', '-p', '[fd00:77::1]:81:80', image, 'true'),
    /in network four it has no address of IPv6/,
  )
  await at.removeAll()
  await ok('network', 'rm', 'dual', 'four')
  await assertNothingLeft(node, [])
})

test('a sandbox is in a network with its ports, and its containers reach each other on localhost', async () => {
  await ok('network', 'create', 'podnet')
  await ok('sandbox', 'create', '--network', 'podnet', '-p', '8085:80', 'pod')
  await ok('sandbox', 'start', 'pod')
  await ok('run', '-d', '--name', 'serves', '--sandbox', 'pod', image, ...SERVE)
  assert.equal(
    await ok('run', '--rm', '--sandbox', 'pod', image, ...fetchInside('http://localhost/')),
    'hello from pod',
  )
  const [{ attached }] = JSON.parse(await ok('sandbox', 'inspect', 'pod'))
  const address = attached.interfaces[0].addresses[0].split('/')[0]
  assert.equal(await ok('exec', 'serves', 'busybox', 'grep', 'pod', '/etc/hosts'), `${address}\tpod`)
  assert.equal(await fetchHere(`http://${address}/`), 'hello from pod')
  assert.match(await refused('sandbox', 'create', '--network', 'podnet', '-p', '8085:80', 'other'), /by sandbox pod/)
  assert.match(await refused('network', 'rm', 'podnet'), /is used by sandbox pod/)
  await ok('gc') // Which leaves its network to it.
  assert.equal(await fetchHere(`http://${address}/`), 'hello from pod')
  await ok('sandbox', 'rm', '-f', 'pod')
  await ok('network', 'rm', 'podnet')
})

test('address, MAC address, name servers and hosts are as they were asked for', async () => {
  await ok('network', 'create', '--subnet', '10.77.3.0/24', '--gateway', '10.77.3.254', 'red')
  const names = ['--hostname', 'box.lan', '--dns', '10.1.1.1', '--dns-search', 'lan', '--add-host', 'db:10.1.1.9']
  const place = ['--network', 'red', '--ip', '10.77.3.9', '--mac-address', '02:00:00:00:00:09']
  const script = 'cat /etc/resolv.conf /etc/hosts /etc/hostname; ip -o addr show eth0; ip link show eth0; ip route'
  const seen = await ok('run', '--rm', ...place, ...names, '--add-host', 'out:host-gateway', image, 'sh', '-c', script)
  for (const line of [
    /^nameserver 10\.1\.1\.1$/m,
    /^search lan$/m,
    /^10\.77\.3\.9\tbox\.lan box$/m,
    /^10\.1\.1\.9\tdb$/m,
    /^10\.77\.3\.254\tout$/m,
    /^box\.lan$/m,
    /inet 10\.77\.3\.9\/24/,
    /02:00:00:00:00:09/,
    /^default via 10\.77\.3\.254/m,
  ]) {
    assert.match(seen, line)
  }
  assert.match(
    await refused('network', 'create', '--subnet', '10.77.3.128/25', 'pink'),
    /overlaps with 10\.77\.3\.0\/24 of network red/,
  )
  assert.match(
    await refused('run', '--rm', '--network', 'red', '--ip', '10.9.9.9', image, 'true'),
    /plugin bridge failed to add the container: .*10\.9\.9\.9/,
  )
  await at.removeAll()
  await ok('network', 'rm', 'red')
  await assertNothingLeft(node, [])
})

test('a container is in several networks at once; one that is internal leads nowhere', async () => {
  await ok('network', 'create', 'front')
  await ok('network', 'create', '--internal', 'back')
  const seen = await ok(
    'run',
    '--rm',
    '--network',
    'front',
    '--network',
    'back',
    image,
    'sh',
    '-c',
    'ip -o -4 addr; ip route',
  )
  assert.match(seen, /eth0 {4}inet 10\.89\.\d+\.\d+\/24/)
  assert.match(seen, /eth1 {4}inet 10\.89\.\d+\.\d+\/24/)
  assert.equal(seen.match(/default/g)?.length, 1)
  assert.doesNotMatch(await ok('run', '--rm', '--network', 'back', image, 'ip', 'route'), /default/)
  assert.match(
    await refused('run', '--rm', '--network', 'back', '-p', '81:81', image, 'true'),
    /network back cannot publish ports/,
  )
  await at.removeAll()
  await ok('network', 'rm', 'front', 'back')
  await assertNothingLeft(node, [])
})

test('what does not go together is refused before anything is done', async () => {
  assert.match(
    await refused('run', '-p', '80:80', image, 'true'),
    /ports needs a network with a name, and the network is none/,
  )
  assert.match(await refused('run', '-p', '80:', image, 'true'), /"80:" publishes no port/)
  assert.match(
    await refused('run', '--rm', '--network', 'nowhere', image, 'true'),
    /network nowhere is neither one of purser's nor in \/etc\/cni\/net\.d/,
  )
  assert.match(
    await refused('run', '--rm', '--network', 'container:none-such', image, 'true'),
    /container none-such, whose network namespace is asked for, is not in namespace default/,
  )
  assert.match(await refused('network', 'rm', 'nowhere'), /network nowhere is not in namespace default/)
  await at.removeAll()
})

test('without a network there is loopback alone, and no event and no file of any', async () => {
  assert.equal(
    await ok('run', '--name', 'alone', image, 'sh', '-c', 'ip -o link | cut -d: -f2; cat /etc/hosts || true'),
    'lo',
  )
  const types = (await events(node, 'task/alone')).map(({ type }) => type)
  assert.ok(types.includes('task.created'))
  assert.deepEqual(
    types.filter((type) => type.includes('network')),
    [],
  )
  await at.removeAll()
})
