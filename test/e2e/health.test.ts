import assert from 'node:assert/strict'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { z } from 'zod'
import { pushTinyImage } from '../../scripts/tiny-image.ts'
import { startNode, type TestNode } from '../support/daemon.ts'
import { checkBooks, events, eventually } from '../support/faults.ts'
import { startRegistry } from '../support/registry.ts'

const taskSchema = z.object({ health: z.object({ status: z.string(), detail: z.string().optional() }).optional() })

async function healthOf(node: TestNode, id: string) {
  const answer = await node.http('GET', `/v1/tasks/${id}`)
  assert.equal(answer.status, 200, answer.text)
  return taskSchema.parse(answer.json).health
}

const becomes = (node: TestNode, id: string, status: string) =>
  eventually(
    () => healthOf(node, id),
    (health) => health?.status === status,
  )

test('health is told by a command, by HTTP and by a port; only changes are events, also over a SIGKILL of the daemon', async () => {
  await using registry = await startRegistry()
  await using node = await startNode()
  const { cli } = node
  const image = await pushTinyImage({ registry: registry.address, repository: 'plain', tag: 'latest' })
  const config = { Healthcheck: { Test: ['CMD-SHELL', 'exit 0'], Interval: 100_000_000, Retries: 2 } }
  const checked = await pushTinyImage({ registry: registry.address, repository: 'checked', tag: 'latest', config })
  const dir = `${node.dir}/shared`
  await mkdir(dir)
  const quick = ['--health-interval', '100ms', '--health-retries', '2', '--health-timeout', '2s']
  const run = async (name: string, ...args: string[]) => {
    const ran = await cli('run', '-d', '--name', name, '-v', `${dir}:/shared`, ...quick, ...args)
    assert.equal(ran.exitCode, 0, ran.stderr)
  }
  const sleep = [image, 'sleep', '1000']
  const serve = [image, 'sh', '-c', 'mkdir /www; echo ok >/www/fine; exec busybox httpd -f -p 8080 -h /www']
  await run('cmd', '--health-cmd', 'cat /shared/well || { echo no such luck; exit 3; }', ...sleep)
  await run('http', '--health-http', '8080/fine', ...serve)
  await run('wrong', '--health-http', '8080/missing', ...serve)
  await run('tcp', '--health-tcp', '8080', '--health-start-period', '1h', '--health-start-interval', '100ms', ...sleep)
  await cli('run', '-d', '--name', 'own', checked, 'sleep', '1000')
  await cli('run', '-d', '--name', 'none', '--no-healthcheck', checked, 'sleep', '1000')
  const both = await cli('run', '-d', '--no-healthcheck', '--health-cmd', 'true', checked, 'sleep', '1000')
  assert.equal(both.exitCode, 125)
  assert.match(both.stderr, /different health checks/)
  await becomes(node, 'own', 'healthy')
  assert.equal(await healthOf(node, 'none'), undefined)
  assert.match((await becomes(node, 'cmd', 'unhealthy'))?.detail ?? '', /^exit code 3: .*no such luck/s)
  assert.equal((await becomes(node, 'wrong', 'unhealthy'))?.detail, 'HTTP 404')
  await becomes(node, 'http', 'healthy')
  assert.deepEqual((await cli('ps', '-q', '--filter', 'health=unhealthy')).stdout.trim().split('\n').sort(), [
    'cmd',
    'wrong',
  ])
  const listed = (await cli('ps')).stdout
  assert.match(listed, /Up, started .* \(unhealthy\)/)
  assert.match(listed, /Up, started .* \(healthy\)/)
  assert.match(listed, /Up, started .* \(health: starting\)/)

  await run('tolerant', '--health-cmd', 'false', '--health-retries', '1000', ...sleep)
  const failures = async () =>
    Number(await readFile(`${node.state}/tasks/default/tolerant/health-failures`, 'utf8').catch(() => 0))
  await eventually(failures, (count) => count >= 2)
  await node.kill9()
  const counted = await failures()
  await writeFile(`${dir}/well`, 'well')
  await node.restart()
  assert.ok((await eventually(failures, (count) => count !== counted)) > counted, 'failures are counted on')
  assert.equal((await becomes(node, 'cmd', 'healthy'))?.detail, 'exit code 0: well')
  await rm(`${dir}/well`)
  await becomes(node, 'cmd', 'unhealthy')
  const changes = (await events(node, 'task/cmd')).filter(({ type }) => type === 'task.health-changed')
  assert.deepEqual(
    changes.map(({ data }) => [data.status, data.failures]),
    [
      ['unhealthy', 2],
      ['healthy', 0],
      ['unhealthy', 2],
    ],
  )
  assert.equal((await healthOf(node, 'tcp'))?.status, 'starting')
  await checkBooks(node)
})

test('what becomes unhealthy is killed, restarted or stopped, as its health check says', async () => {
  await using registry = await startRegistry()
  await using node = await startNode()
  const image = await pushTinyImage({ registry: registry.address, repository: 'plain', tag: 'latest' })
  const quick = ['--health-cmd', 'false', '--health-interval', '100ms', '--health-retries', '2']
  const run = async (name: string, action: string, ...args: string[]) => {
    const options = ['--name', name, ...quick, '--health-on-failure', action, '--stop-timeout', '1', ...args]
    const ran = await node.cli('run', '-d', ...options, image, 'sleep', '1000')
    assert.equal(ran.exitCode, 0, ran.stderr)
  }
  await Promise.all([
    run('killed', 'kill'),
    run('recovered', 'kill', '--restart', 'always'),
    run('restarted', 'restart'),
    run('stopped', 'stop', '--restart', 'always'),
  ])
  const started = async (id: string) =>
    (await events(node, `task/${id}`)).filter(({ type }) => type === 'task.started').length
  for (const id of ['recovered', 'restarted'])
    await eventually(
      () => started(id),
      (count) => count >= 2,
    )
  for (const id of ['killed', 'stopped']) {
    assert.equal((await node.cli('wait', id)).stdout, '137\n')
    assert.match((await node.cli('why', id)).stdout, /was asked for by purser:health/)
    assert.equal(await started(id), 1)
  }
  await node.cli('rm', '-f', 'recovered', 'restarted')
  assert.match((await node.cli('create', '--health-on-failure', 'pray', image)).stderr, /pray/)
  await checkBooks(node)
})
