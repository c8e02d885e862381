import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { type CliNode, startCliNode } from '../support/cli.ts'
import { checkBooks, events, eventually, instant } from '../support/faults.ts'
import { assertNothingLeft, enterOwnNetwork } from '../support/own-network.ts'

enterOwnNetwork()

let at: CliNode
before(async () => {
  at = await startCliNode()
})
after(() => at[Symbol.asyncDispose]())

test('containers of a run file come up in the order of what they depend on, once each over a SIGKILL of the daemon', async (t) => {
  const { node, cli, image } = at
  const file = `${node.dir}/run.yaml`
  await writeFile(
    file,
    `name: shop
containers:
  web:
    image: ${image}
    args: [sh, -c, 'sleep 1000']
    stop-timeout: 0
    env: { COLOR: blue }
    depends-on: { migrate: completed }
  db:
    image: ${image}
    args: [busybox, httpd, -f, -p, 5432]
    stop-timeout: 0
    health-tcp: 5432
    health-interval: 100ms
    health-retries: 100
  migrate:
    image: ${image}
    args: [sh, -c, 'sleep 0.3']
    depends-on: { db: healthy }
  beside:
    image: ${image}
    args: [sleep, "1000"]
    stop-timeout: 0
    networks: [default, back]
    depends-on: [db]
`,
  )
  assert.equal((await cli('network', 'create', 'back')).exitCode, 0)
  const coming = cli('up', '-f', file)
  await eventually(
    () => events(node, 'project/shop'),
    (found) => found.length > 0,
  )
  await node.kill9After(instant(t, 'killed', 800))
  await node.restart()
  const ended = await coming
  assert.equal(ended.exitCode, 0, ended.stderr)
  const all = await events(node)
  const at1 = (type: string, subject: string, status?: string) =>
    all.findIndex((each) => each.type === type && each.subject === subject && (!status || each.data.status === status))
  for (const part of ['db', 'migrate', 'web', 'beside']) {
    const starts = all.filter(({ type, subject }) => type === 'task.started' && subject === `task/shop-${part}`)
    assert.equal(starts.length, 1, part)
  }
  const order = [
    at1('task.started', 'task/shop-db'),
    at1('task.health-changed', 'task/shop-db', 'healthy'),
    at1('task.started', 'task/shop-migrate'),
    at1('task.exited', 'task/shop-migrate'),
    at1('task.started', 'task/shop-web'),
    at1('project.started', 'project/shop'),
  ]
  assert.deepEqual(
    order.toSorted((a, b) => a - b),
    order,
  )
  assert.match((await cli('exec', 'shop-web', 'env')).stdout, /^COLOR=blue$/m)
  for (const [from, to] of [
    ['shop-web', 'db'],
    ['shop-beside', 'web'],
  ] as const) {
    const ping = await cli('exec', from, 'busybox', 'ping', '-c', '1', '-W', '5', to)
    assert.equal(ping.exitCode, 0, ping.stderr)
  }
  assert.equal((await cli('network', 'ls', '-q')).stdout, 'back\nshop_default\n')
  const again = await cli('up', '-f', file)
  assert.equal(again.exitCode, 0, again.stderr)
  assert.match((await cli('project', 'ls')).stdout, /^shop +up +web, db, migrate, beside /m)
  assert.equal((await cli('ps', '-aq', '--filter', 'label=purser.io/project=shop')).stdout.split('\n').length, 5)
  const down = await cli('down', '-f', file)
  assert.equal(down.exitCode, 0, down.stderr)
  const gone = (await events(node)).filter(({ type }) => type === 'container.deleted').map(({ subject }) => subject)
  assert.equal(gone.at(-1), 'container/shop-db', 'what others depend on goes last')
  assert.equal(gone.length, 4)
  assert.equal((await cli('network', 'rm', 'back')).exitCode, 0)
  assert.equal((await cli('network', 'ls', '-q')).stdout, '')
  await assertNothingLeft(node, [])
  await checkBooks(node)
})

test('a project that does not come up says which container and why, and leaves what was asked for', async () => {
  const { node, cli, image } = at
  const file = `${node.dir}/run.yaml`
  const write = (containers: string) => writeFile(file, `name: odd\ncontainers:\n${containers}`)
  const fails = `  bad: { image: "${image}", args: [sh, -c, "exit 3"] }\n`
  await write(`${fails}  next: { image: "${image}", args: ["true"], depends-on: { bad: completed } }\n`)
  const removed = await cli('up', '-f', file, '--on-failure', 'remove')
  assert.equal(removed.exitCode, 65, removed.stderr)
  assert.match(removed.stderr, /container odd-bad ended with exit code 3/)
  assert.equal((await cli('ps', '-aq')).stdout + (await cli('network', 'ls', '-q')).stdout, '')
  const kept = await cli('up', '-f', file)
  assert.notEqual(kept.exitCode, 0)
  assert.equal((await cli('ps', '-aq')).stdout, 'odd-bad\n')
  assert.match(
    (await cli('inspect', '--type', 'project', 'odd')).stdout,
    /"error": "container odd-bad ended with exit code 3"/,
  )
  assert.equal((await cli('down', 'odd')).exitCode, 0)

  const never = `  slow: { image: "${image}", args: [sleep, "1000"], stop-timeout: 0, health-tcp: 1, health-start-period: 1h }\n`
  await write(`${never}  next: { image: "${image}", args: ["true"], depends-on: { slow: healthy } }\n`)
  const late = await cli('up', '-f', file, '--timeout', '1s', '--on-failure', 'remove')
  assert.match(late.stderr, /the deadline passed before the command ended/)
  assert.equal((await cli('ps', '-aq')).stdout, '')
  assert.equal((await cli('project', 'ls', '--format', 'json')).stdout.trim(), '[]')

  await write(`  a: { image: x, depends-on: [b] }\n  b: { image: x, depends-on: [a] }\n`)
  assert.match((await cli('up', '-f', file)).stderr, /in a circle: a → b → a/)
  await write('  a: { image: x, publich: 80 }\n')
  assert.match((await cli('up', '-f', file)).stderr, /containers\.a: there is no key publich.*publish/)
  await write('  a: { image: x, depends-on: { a: well } }\n')
  assert.match((await cli('up', '-f', file)).stderr, /containers\.a\.depends-on\.a: "well" is no condition/)
  await write('  a: [')
  assert.match((await cli('up', '-f', file)).stderr, /run\.yaml:\d+:\d+: /)
  await checkBooks(node)
})
