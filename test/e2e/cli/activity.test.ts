import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { cgroupVersion } from '../../../src/host/cgroups.ts'
import { type CliNode, startCliNode } from '../../support/cli.ts'

describe('top, stats, update and rename, as a docker user has them', () => {
  let at: CliNode
  before(async () => {
    at = await startCliNode({ config: '[stats]\nevery = "1s"\n' })
    await ok('run', '-d', '--name', 'c1', '-m', '64m', at.image, 'sh', '-c', 'sleep 1000 & while :; do :; done')
    await ok('create', '--name', 'c2', at.image)
  })
  after(() => at[Symbol.asyncDispose]())

  const ok = (...args: string[]) => at.ok(...args)
  const refused = (...args: string[]) => at.refused(...args)

  test('top shows every process of the container, in the columns of ps', async () => {
    const [head, ...lines] = (await ok('top', 'c1')).split('\n')
    assert.match(head ?? '', /^UID +PID +PPID +C +STIME +TTY +TIME +CMD$/)
    assert.match(lines.join('\n'), /^root +\d+ +\d+ +\d+ +\d\d:\d\d +\? +00:00:\d\d +sleep 1000$/m)
    assert.equal(lines.length, 2)
    assert.match(await ok('top', 'c1', '-o', 'comm,uid'), /^COMMAND +UID\nsh +0\nsleep +0$/m)
    assert.match(await refused('top', 'c1', '-o', 'nothing'), /there is no column "nothing"/)
    assert.match(await refused('top', 'c2'), /container c2 does not run/)
  })

  test('stats has docker’s fields, containerd’s metrics over HTTP, and the last minutes', async () => {
    const [{ Pressure: _, ...row }] = JSON.parse(await ok('stats', '--no-stream', '--format', 'json', 'c1'))
    assert.deepEqual(
      Object.keys(row).sort(),
      ['BlockIO', 'CPUPerc', 'Container', 'ID', 'MemPerc', 'MemUsage', 'Name', 'NetIO', 'PIDs'].sort(),
    )
    assert.ok(Number.parseFloat(row.CPUPerc) > 5, row.CPUPerc)
    assert.match(row.MemUsage, /^[\d.]+[KM]iB \/ 64MiB$/)
    assert.equal(row.PIDs, '2')
    assert.match(await ok('stats', '--no-stream'), /^CONTAINER ID +NAME +CPU % +MEM USAGE \/ LIMIT .*\nc1 +c1 /)
    const { json } = await at.node.http('GET', '/v1/containers/c1/stats')
    const { metrics } = json as { metrics: { type: string; data: { memory: object; pids: { current: string } } } }
    assert.equal(metrics.type, `io.containerd.cgroups.v${cgroupVersion()}.Metrics`)
    assert.equal(metrics.data.pids.current, '2')
    await ok('run', '-d', '--name', 'pressed', '--runtime', 'runc', at.image, 'sleep', '1000')
    const pressed = (await at.node.http('GET', '/v1/containers/pressed/stats')).json as { pressure?: { cpu?: object } }
    const isTold = existsSync('/proc/pressure/cpu') && (cgroupVersion() === 2 || existsSync('/sys/fs/cgroup/unified'))
    assert.deepEqual(Object.keys(pressed.pressure?.cpu ?? {}), isTold ? ['some', 'full'] : [])
    assert.equal('pressure' in JSON.parse(await ok('info', '--format', 'json')), existsSync('/proc/pressure/cpu'))
    await ok('rm', '-f', 'pressed')
    const recent = async () => JSON.parse(await ok('stats', '--since', '1m', '--format', 'json', 'c1'))
    let samples = await recent()
    for (; samples.length < 2; samples = await recent()) await delay(200)
    assert.ok(samples[1].cpuNs > samples[0].cpuNs)
    assert.match(await refused('stats', '--no-stream', 'c2'), /container c2 does not run/)
  })

  test('update changes the limits of what runs, and of what is started later', async () => {
    assert.equal(await ok('update', '--memory', '96m', '--pids-limit', '50', 'c1', 'c2'), 'c1\nc2')
    const limits = async (id: string) => JSON.parse(await ok('inspect', id))[0].options.resources
    assert.deepEqual(await limits('c1'), { memoryBytes: 96 << 20, pidsLimit: 50 })
    assert.deepEqual(await limits('c2'), { memoryBytes: 96 << 20, pidsLimit: 50 })
    const { json } = await at.node.http('GET', '/v1/containers/c1/stats')
    assert.equal((json as { memoryLimitBytes: number }).memoryLimitBytes, 96 << 20)
    assert.match(await refused('update', 'c1'), /there is nothing to change/)
  })

  test('a renamed container answers to both names; a name is one container’s, and free again with it', async () => {
    await ok('rename', 'c2', 'second')
    await ok('rename', 'second', 'second') // Its own: nothing is reserved against its owner.
    assert.match(await ok('ps', '-a'), /^c2 \(second\) /m)
    assert.equal(JSON.parse(await ok('inspect', 'second'))[0].id, 'c2')
    assert.match(await refused('rename', 'c1', 'second'), /container c2 is called second .*; choose another name/)
    assert.match(await refused('rename', 'c1', 'c2'), /container c2 exists/)
    assert.match(await refused('create', '--name', 'second', at.image), /container c2 is called second/)
    const both = await Promise.all([at.cli('rename', 'c1', 'third'), at.cli('rename', 'c2', 'third')])
    assert.deepEqual(both.map(({ exitCode }) => exitCode).sort(), [0, 73])
    await ok('rename', 'third', 'fourth')
    await ok('rename', 'c2', 'c2')
    await ok('rename', 'c2', 'second')
    await ok('rm', 'second')
    await ok('create', '--name', 'second', at.image)
    assert.equal(await ok('port', 'second'), '')
    assert.match(await refused('port', 'second', '80'), /no port of the host leads to 80/)
    const { exitCode, stdout } = await at.cli('state', 'rebuild', '--check')
    assert.equal(exitCode, 0, stdout)
  })
})
