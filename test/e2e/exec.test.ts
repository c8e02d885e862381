import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { PurserClient } from '../../src/client/index.ts'
import { WebSocketClient } from '../../src/client/web-socket.ts'
import { mapLimited } from '../../src/model/concurrency.ts'
import { type CliNode, startCliNode } from '../support/cli.ts'

const ROUNDS = Number(process.env.PURSER_ROUNDS ?? 1000)
const AT_ONCE = 8
/** Of the last commands and execs something is remembered; the heap is not collected at once. */
const GROWN_MIB_MAX = 40

describe('processes that are added to a container', () => {
  let at: CliNode
  let client: PurserClient
  let pid: number
  before(async () => {
    at = await startCliNode()
    client = new PurserClient({ socketPath: at.node.socketPath })
    const ran = await at.cli('run', '-d', '--name', 'c1', '--group-add', '44', at.image, 'sleep', '1000')
    assert.equal(ran.exitCode, 0, ran.stderr)
    const { task } = await client.container('c1')
    pid = task && 'pid' in task ? task.pid : 0
  })
  after(() => at[Symbol.asyncDispose]())

  const execs = async () => {
    const { task } = await client.container('c1')
    return task && 'execs' in task ? task.execs : []
  }
  const processes = async () => (await at.cli('top', 'c1', '-o', 'cmd')).stdout.trim().split('\n').slice(1)

  test('one whose time is up is killed with all it has started; what it may not write is dropped, and said', async () => {
    const late = await at.cli('exec', '--timeout', '300ms', 'c1', 'sh', '-c', 'sleep 999 & sleep 998')
    assert.equal(late.exitCode, 137)
    assert.deepEqual(await processes(), ['sleep 1000'])
    assert.equal((await execs()).at(-1)?.status, 'exited')
    assert.match((await at.cli('inspect', 'c1')).stdout, /"reason": "timeout"/)
    const much = await at.cli('exec', '--output-limit', '10b', 'c1', 'sh', '-c', 'printf 0123456789abc')
    assert.equal(much.stdout, '0123456789')
    assert.match(much.stderr, /^purser: 3 bytes of output beyond --output-limit were dropped$/m)
  })

  test('one by another user has the groups that were added to the container', async () => {
    assert.equal((await at.cli('exec', '-u', '1000:1000', 'c1', 'id', '-G')).stdout, '1000 44\n')
  })

  test('a detached one tells its id, by which it is killed', async () => {
    const detached = await at.cli('exec', '-d', 'c1', 'sh', '-c', 'sleep 997 & sleep 996')
    const id = detached.stdout.trim()
    while ((await processes()).length < 3) await delay(20)
    assert.equal((await at.cli('kill', '--exec', id, 'c1')).stdout, 'c1\n')
    while ((await execs()).some((exec) => exec.id === id && exec.status !== 'exited')) await delay(20)
    assert.deepEqual(await processes(), ['sleep 1000'])
    assert.match((await at.cli('kill', '--exec', 'nothing', 'c1')).stderr, /exec nothing is not in container c1/)
  })

  // CVE-2022-23471, CVE-2025-64329: elsewhere each of them left something behind.
  test(`${ROUNDS} execs and attaches leave memory, descriptors and threads where they were`, async (t) => {
    const shim = Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
    const round = async (index: number) => {
      if (index % 10 === 0) {
        const payload = { execId: `e${index}`, args: ['true'], tty: index % 20 === 0 }
        await client.execute('task.exec', { subject: 'c1', payload })
        assert.equal(await session(`/v1/containers/c1/execs/e${index}/attach`, 'to its end'), 0)
      } else await session('/v1/containers/c1/attach', 'leave')
    }
    const session = (path: string, until: 'to its end' | 'leave') =>
      new Promise<number>((resolve, reject) => {
        const socket = new WebSocketClient({ socketPath: client.socketPath, path, protocol: 'v5.channel.k8s.io' })
        socket.on('error', reject).on('close', () => resolve(-1))
        socket.on('refused', ({ statusCode }) => reject(new Error(`${path}: ${statusCode}`)))
        socket.on('open', () => {
          socket.send(Buffer.concat([Buffer.of(4), Buffer.from('{"width":80,"height":24}')]))
          if (until === 'leave') socket.close()
        })
        socket.on('message', (message: Buffer) => {
          if (message[0] !== 3) return
          const { exitCode, error } = JSON.parse(message.subarray(1).toString())
          if (error) reject(new Error(`${path}: ${JSON.stringify(error)}`))
          else resolve(exitCode)
          socket.close()
        })
      })
    const rounds = (from: number, count: number) =>
      mapLimited(
        Array.from({ length: count }, (_, index) => from + index),
        AT_ONCE,
        t.signal,
        round,
      )
    await rounds(0, 200)
    const before = [usageOf(at.node.pid), usageOf(shim)]
    await rounds(200, ROUNDS)
    const late = Date.now() + 20_000 // In which an idle daemon gives back what its heap does not need.
    let now = [usageOf(at.node.pid), usageOf(shim)]
    const isBack = () =>
      now.every(({ descriptors, residentMiB }, which) => {
        const { descriptors: known = 0, residentMiB: had = 0 } = before[which] ?? {}
        return descriptors <= known && residentMiB <= had + GROWN_MIB_MAX
      })
    for (; !isBack() && Date.now() < late; now = [usageOf(at.node.pid), usageOf(shim)]) await delay(50)
    t.diagnostic(JSON.stringify({ before, now }))
    for (const [which, { descriptors, threads, residentMiB }] of now.entries()) {
      assert.ok(descriptors <= (before[which]?.descriptors ?? 0), 'descriptors')
      assert.ok(threads <= (before[which]?.threads ?? 0) + 4, 'threads')
      assert.ok(residentMiB <= (before[which]?.residentMiB ?? 0) + GROWN_MIB_MAX, 'memory')
    }
    assert.deepEqual(await processes(), ['sleep 1000'])
  })
})

function usageOf(pid: number) {
  return {
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    threads: readdirSync(`/proc/${pid}/task`).length,
    residentMiB: Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024),
  }
}
