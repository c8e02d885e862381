import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type CliNode, startCliNode } from '../../support/cli.ts'
import { eventually, gone, pidOf } from '../../support/faults.ts'
import { assertNothingLeft, enterOwnNetwork } from '../../support/own-network.ts'

enterOwnNetwork()

let at: CliNode
before(async () => {
  at = await startCliNode()
})
after(() => at[Symbol.asyncDispose]())

/** Nobody serves names at its name server, so that what is unknown is so at once. */
const start = (name: string, ...options: string[]) =>
  at.ok('run', '-d', '--name', name, '--dns', '127.0.0.1', ...options, at.image, 'sleep', '600')

const PING = `for name; do
if out=$(busybox ping -c 1 -W 2 "$name" 2>/dev/null); then out=\${out#*\\(}; echo "\${out%%\\)*}"; else echo unknown; fi
done`

/** Which addresses a container reaches by names, asked with a packet each. */
const reached = async (from: string, ...names: string[]): Promise<string[]> =>
  (await at.ok('exec', from, 'sh', '-c', PING, 'sh', ...names)).split('\n')

async function addressOf(id: string, network: string): Promise<string> {
  const [{ task }] = JSON.parse(await at.ok('inspect', '--type', 'container', id))
  const found = task.interfaces.find((each: { network: string }) => each.network === network)
  return found.addresses[0].split('/')[0]
}

test('containers reach each other by name while they run, in their own networks only, over renames and a killed daemon', async () => {
  const { node, ok, refused } = at
  await ok('network', 'create', 'front', 'back')
  await start('web', '--network', 'front', '--hostname', 'www.lan', '--add-host', 'fixed:192.0.2.7')
  await start('api', '--network', 'front', '--network', 'back', '--network-alias', 'service')
  await start('db', '--network', 'back')
  const [web, api] = [await addressOf('web', 'front'), await addressOf('api', 'front')]
  assert.deepEqual(await reached('api', 'web', 'www.lan', 'www', 'web.front'), [web, web, web, web])
  assert.deepEqual(await reached('web', 'api', 'service', 'api.front', 'db'), [api, api, api, 'unknown'])
  assert.deepEqual(await reached('db', 'service', 'web'), [await addressOf('api', 'back'), 'unknown'])

  await ok('rename', 'api', 'api-2')
  assert.deepEqual(await reached('web', 'api-2'), [api])
  await ok('exec', 'web', 'sh', '-c', 'echo "192.0.2.8 own" >>/etc/hosts')
  await ok('stop', '-t', '0', 'api')
  assert.deepEqual(await reached('web', 'service'), ['unknown'])
  await ok('start', 'api')
  assert.deepEqual(await reached('web', 'service'), [await addressOf('api', 'front')])

  await ok('network', 'connect', '--alias', 'store', 'front', 'db')
  const db = await addressOf('db', 'front')
  assert.deepEqual(await reached('web', 'db', 'store'), [db, db])
  assert.deepEqual(await reached('db', 'www.lan'), [web])
  assert.match(await refused('network', 'connect', 'front', 'db'), /db is in network front/)
  await ok('restart', '-t', '0', 'db')
  assert.deepEqual(await reached('web', 'store'), [await addressOf('db', 'front')])
  await ok('network', 'disconnect', 'front', 'db')
  assert.deepEqual(await reached('web', 'db', 'store'), ['unknown', 'unknown'])
  assert.doesNotMatch(await ok('exec', 'db', 'ip', '-o', 'link'), /eth1/)
  assert.match(await refused('network', 'disconnect', 'back', 'db'), /in no other network than back/)

  const pid = await pidOf(node, 'db')
  await node.kill9()
  process.kill(pid, 'SIGKILL')
  await gone(pid)
  await node.restart()
  await eventually(
    async () => await ok('exec', 'api', 'cat', '/etc/hosts'),
    (text) => !text.includes('db'),
  )
  assert.deepEqual(await reached('api', 'web'), [web])
  const hosts = await readFile(join(node.root, 'containers/default/web/hosts'), 'utf8')
  assert.match(hosts, /^192\.0\.2\.7\tfixed$/m)
  assert.match(hosts, /^192\.0\.2\.8 own$/m)

  await ok('rm', '-f', 'web', 'api', 'db')
  await ok('network', 'rm', 'front', 'back')
  await assertNothingLeft(node, [])
})
