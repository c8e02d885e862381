import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { z } from 'zod'
import { type CliNode, startCliNode } from '../../support/cli.ts'
import type { TestNode } from '../../support/daemon.ts'
import { checkBooks, eventually, taskOf } from '../../support/faults.ts'
import { assertNothingLeft, emptyOwnNetwork, enterOwnNetwork, networkState } from '../../support/own-network.ts'
import { reboot } from '../../support/reboot.ts'

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

const poolSchema = z.object({
  ready: z.number(),
  warming: z.number(),
  members: z.array(z.object({ container: z.string(), status: z.string() })),
})

const filled = (name: string, count: number) =>
  eventually(
    async () => poolSchema.parse((await node.http('GET', `/v1/pools/${name}`)).json),
    ({ ready, warming }) => ready === count && warming === 0,
    60_000,
  )

const readyOf = ({ members }: z.output<typeof poolSchema>): string[] =>
  members.flatMap(({ container, status }) => (status === 'ready' ? [container] : []))

/** What one that was just claimed serves, asked for in its network. */
async function servedBy(id: string): Promise<string> {
  const [{ task }] = JSON.parse(await ok('inspect', '--type', 'container', id))
  const [address = ''] = task.interfaces[0].addresses
  const url = `http://${address.split('/')[0]}/`
  return (await (await fetch(url, { signal: AbortSignal.timeout(5000) })).text()).trim()
}

test('tasks of a pool have their network before they are claimed; after a reboot all of it is made anew', async () => {
  await ok('network', 'create', 'warm')
  const serve = 'echo "hello from $HOSTNAME" >/index.html; exec busybox httpd -f -p 80 -h /'
  const options = ['--size', '2', '--ready', 'tcp:80', '--network', 'warm']
  await ok('pool', 'create', 'web', '--image', image, ...options, '--', 'sh', '-c', serve)
  await ok('run', '-d', '--name', 'beside', '--network', 'warm', '-p', '8080:80', image, 'sh', '-c', serve)
  const before = readyOf(await filled('web', 2))
  const id = await ok('pool', 'claim', 'web')
  assert.equal(await servedBy(id), `hello from ${id.slice(0, 12)}`)
  const bridge = JSON.parse(await ok('network', 'inspect', 'warm'))[0].bridge
  assert.ok(networkState().interfaces.includes(bridge))

  await reboot(node)
  emptyOwnNetwork()
  node.start()
  await node.ready()

  for (const each of ['beside', id]) {
    const { status, reason } = await taskOf(node, each)
    assert.deepEqual([status, reason], ['stopped', 'lost: the machine was rebooted'])
  }
  const again = readyOf(await filled('web', 2))
  assert.ok(again.every((each) => !before.includes(each)))
  const other = await ok('pool', 'claim', 'web')
  assert.equal(await servedBy(other), `hello from ${other.slice(0, 12)}`)
  await ok('start', 'beside')
  assert.equal(await servedBy('beside'), 'hello from beside')
  assert.equal((await (await fetch('http://10.89.0.1:8080/')).text()).trim(), 'hello from beside')

  await ok('pool', 'rm', '-f', 'web')
  await at.removeAll()
  await ok('network', 'rm', 'warm')
  await assertNothingLeft(node, [])
  await checkBooks(node)
})
