import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type CliNode, startCliNode } from '../support/cli.ts'

describe('what becomes of output', () => {
  let at: CliNode
  before(async () => {
    at = await startCliNode()
  })
  after(() => at[Symbol.asyncDispose]())

  const ok = (...args: string[]) => at.ok(...args)
  const refused = (...args: string[]) => at.refused(...args)

  test('files are rotated by size and count; whoever is attached misses nothing, logs has what is kept', async () => {
    const script = 'i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; done'
    const options = ['--log-opt', 'max-size=16k', '--log-opt', 'max-file=2']
    const shown = await ok('run', '--name', 'much', ...options, at.image, 'sh', '-c', script)
    assert.equal(shown, Array.from({ length: 2000 }, (_, n) => `line ${n + 1}`).join('\n'))
    const kept = await ok('logs', 'much')
    assert.ok(kept.endsWith('line 2000') && kept.length < shown.length)
    assert.equal(await ok('logs', '--tail', '2', 'much'), 'line 1999\nline 2000')
    const [, time = ''] = /^(\S+) line 2000$/m.exec(await ok('logs', '-t', 'much')) ?? []
    assert.ok(!(await ok('logs', '--until', time.replace(/(\.\d{3})\d*/, '$1'), 'much')).includes('line 2000'))
  })

  test('what is more than a container may write in a second is dropped, and counted by an event', async () => {
    await ok(
      'run',
      '--name',
      'fast',
      '--log-opt',
      'max-rate=10k',
      at.image,
      'sh',
      '-c',
      'yes 123456789 | head -c 100000',
    )
    const kept = (await ok('logs', 'fast')).length
    assert.ok(kept > 5000 && kept < 60_000, `${kept}`)
    let events: string[] = []
    while (events.length === 0) {
      const { text } = await at.node.http('GET', '/v1/events?type=task.output-dropped', undefined, {
        accept: 'application/x-ndjson',
      })
      events = text.trim().split('\n').filter(Boolean)
    }
    const { data } = JSON.parse(events[0] ?? '')
    assert.equal(data.reason, 'rate')
    assert.ok(data.bytes > 0)
  })

  test('a driver sends it on, also after a restart of the daemon; of none no log is kept', async () => {
    const received: Buffer[] = []
    const server = createServer((socket) =>
      socket.on('data', (chunk) => received.push(Buffer.from(chunk))).on('error', () => {}),
    )
    await new Promise<void>((done) => server.listen(`${at.node.dir}/syslog`, done))
    const driver = ['--log-driver', 'syslog', '--log-opt', `syslog-address=unix://${at.node.dir}/syslog`]
    const script = 'echo before; while [ ! -e /go ]; do sleep 0.1; done; echo after; sleep 1000'
    await ok('run', '-d', '--name', 'sent', ...driver, '--log-opt', 'tag=web', at.image, 'sh', '-c', script)
    const sees = async (text: string) => {
      while (!Buffer.concat(received).includes(text)) await delay(20)
    }
    await sees(' web sent stdout - before')
    await at.node.restart()
    await ok('exec', 'sent', 'touch', '/go')
    await sees(' web sent stdout - after')
    assert.equal(await ok('logs', 'sent'), 'before\nafter')
    server.close()
    await ok('run', '--name', 'quiet', '--log-driver', 'none', at.image, 'echo', 'shown')
    assert.match(await refused('logs', 'quiet'), /its log driver is none/)
    assert.match(await refused('run', '--log-opt', 'syslog-address=udp://h:1', at.image, 'true'), /--log-driver syslog/)
    assert.match(await refused('run', '--log-driver', 'gelf', at.image, 'true'), /not one of its values/)
  })
})
