import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, describe, test } from 'node:test'
import { WebSocket } from 'ws'
import { z } from 'zod'
import { commandSchema, exitSchema } from '../../../src/api/http/schemas.ts'
import { type CliNode, startCliNode } from '../../support/cli.ts'
import { open } from '../../support/http.ts'

const LINE = /^(\d{4}-\d\d-\d\dT[\d:.]+Z) (stdout|stderr) ([FP]) (.*)$/

/** A client of the attach protocol, by docs/http.md alone. */
class Attached {
  readonly socket: WebSocket
  readonly #waiting = new Set<() => void>()
  stdout = ''
  stderr = ''
  status: unknown

  constructor(socketPath: string, path: string) {
    this.socket = new WebSocket(`ws+unix://${socketPath}:${path}`, 'v5.channel.k8s.io')
    this.socket.on('message', (data: Buffer) => {
      const text = data.subarray(1).toString()
      if (data[0] === 1) this.stdout += text
      else if (data[0] === 2) this.stderr += text
      else if (data[0] === 3) this.status = JSON.parse(text)
      for (const wake of this.#waiting) wake()
    })
    this.socket.on('close', () => {
      for (const wake of this.#waiting) wake()
    })
  }

  async opened(): Promise<this> {
    await once(this.socket, 'open')
    return this
  }

  send(channel: number, body: string | Uint8Array = ''): void {
    this.socket.send(Buffer.concat([Buffer.of(channel), Buffer.from(body)]))
  }

  /** Waits until what came is enough. */
  async sees(holds: () => boolean): Promise<void> {
    while (!holds()) {
      assert.ok(this.socket.readyState <= WebSocket.OPEN, `it ended: ${this.stdout}${JSON.stringify(this.status)}`)
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#waiting.add(resolve)
      await promise
      this.#waiting.delete(resolve)
    }
  }

  /** The last message of the session. */
  async ended(): Promise<unknown> {
    if (this.socket.readyState !== WebSocket.CLOSED) await once(this.socket, 'close')
    return this.status
  }
}

describe('the streams of containers', () => {
  let at: CliNode
  before(async () => {
    at = await startCliNode()
  })
  after(() => at[Symbol.asyncDispose]())

  const http = (method: string, path: string, body?: unknown, headers?: Record<string, string>) =>
    at.node.http(method, path, body, headers)
  const attach = (path: string) => new Attached(at.node.socketPath, path)
  async function submit(type: string, subject: string, payload: object): Promise<z.output<typeof commandSchema>> {
    const answer = await http('POST', '/v1/commands', { type, subject, payload }, { prefer: 'wait=60' })
    assert.equal(answer.status, 200, answer.text)
    return commandSchema.parse(answer.json)
  }
  const run = (id: string, script: string, options: object = {}) =>
    submit('container.run', id, { image: at.image, options: { args: ['sh', '-c', script], ...options } })
  const linesOf = async (query: string): Promise<string[]> => {
    const answer = await http('GET', `/v1/containers/${query}`)
    assert.equal(answer.status, 200, answer.text)
    return answer.text.split('\n').slice(0, -1)
  }
  const texts = (lines: string[]) => lines.map((line) => LINE.exec(line)?.[4])

  test('logs are lines with time, stream and mark; tail counts from the end, since from a moment', async () => {
    await run('l1', 'echo one; echo two >&2; echo three')
    await http('GET', '/v1/containers/l1/wait')
    const lines = await linesOf('l1/logs')
    const fields = lines.map((line) => LINE.exec(line)?.slice(2)).sort()
    assert.deepEqual(fields, [
      ['stderr', 'F', 'two'],
      ['stdout', 'F', 'one'],
      ['stdout', 'F', 'three'],
    ])
    assert.deepEqual(await linesOf('l1/logs?tail=2'), lines.slice(-2))
    assert.deepEqual(await linesOf('l1/logs?tail=0'), [])
    assert.deepEqual(await linesOf('l1/logs?tail=99'), lines)
    assert.deepEqual(await linesOf('l1/logs?since=1h'), lines)
    assert.deepEqual(await linesOf('l1/logs?since=0s'), [])
    assert.deepEqual(await linesOf('l/logs?follow&tail=1'), lines.slice(-1))
    await run('m1', 'printf unfinished')
    await http('GET', '/v1/containers/m1/wait')
    assert.match((await linesOf('m1/logs?tail=1')).join(), / stdout P unfinished$/)
    for (const query of ['tail=-1', 'tail=x', 'since=never'])
      assert.equal((await http('GET', `/v1/containers/l1/logs?${query}`)).status, 400)
  })

  test('followed logs go on with the process and end with it', async () => {
    await run('l2', 'echo first; read line; echo got $line', { stdin: true })
    const response = await open(at.node.socketPath, '/v1/containers/l2/logs?follow=true')
    let text = ''
    let isAnswered = false
    for await (const chunk of response) {
      text += chunk
      if (!isAnswered && text.includes('first')) {
        isAnswered = true
        const client = await attach('/v1/containers/l2/attach?stdin=true').opened()
        client.send(0, 'x\n')
      }
    }
    assert.deepEqual(texts(text.trimEnd().split('\n')), ['first', 'got x'])
  })

  test('wait answers when the task ends, and at once when it has', async () => {
    await run('w1', 'read line; exit 3', { stdin: true })
    const waiting = http('GET', '/v1/containers/w1/wait')
    const client = await attach('/v1/containers/w1/attach?stdin=true').opened()
    client.send(255, Uint8Array.of(0))
    const first = await waiting
    assert.equal(exitSchema.parse(first.json).exitCode, 3)
    assert.deepEqual((await http('GET', '/v1/containers/w1/wait')).json, first.json)
  })

  test('attach brings both streams, takes input and its end, and says how it ended', async () => {
    await run('a1', 'echo before; cat; echo err >&2; exit 7', { stdin: true })
    const client = await attach('/v1/containers/a1/attach?stdin=true&replay=true').opened()
    assert.equal(client.socket.protocol, 'v5.channel.k8s.io')
    await client.sees(() => client.stdout === 'before\n')
    client.send(0, 'hello\n')
    await client.sees(() => client.stdout === 'before\nhello\n')
    client.send(0, '') // An empty message is no end of input.
    client.send(0, 'again\n')
    await client.sees(() => client.stdout.endsWith('again\n'))
    client.send(255, Uint8Array.of(0))
    assert.equal(exitSchema.parse(await client.ended()).exitCode, 7)
    assert.equal(client.stderr, 'err\n')
    const late = attach('/v1/containers/a1/attach?replay=true')
    assert.equal(exitSchema.parse(await late.ended()).exitCode, 7)
    assert.equal(late.stdout, 'before\nhello\nagain\n')
  })

  test('what goes in comes out, byte for byte, however much', async () => {
    await run('a2', 'cat', { stdin: true })
    const client = await attach('/v1/containers/a2/attach?stdin=true').opened()
    const line = `${'0123456789abcdef'.repeat(4096)}\n`
    for (let index = 0; index < 40; index++) client.send(0, line)
    client.send(255, Uint8Array.of(0))
    assert.equal(exitSchema.parse(await client.ended()).exitCode, 0)
    assert.equal(client.stdout.length, 40 * line.length)
    assert.ok(client.stdout === line.repeat(40))
  })

  test('a message that cannot be followed ends the session with a problem, and not the process', async () => {
    await run('a3', 'cat', { stdin: true })
    const bad: [query: string, channel: number, body: string, code: string][] = [
      ['', 0, 'x', 'failed_precondition'],
      ['?stdin=true', 4, '{', 'invalid_argument'],
      ['?stdin=true', 4, '{"width":0,"height":1}', 'invalid_argument'],
      ['?stdin=true', 4, '{"width":1,"height":1,"x":1}', 'invalid_argument'],
      ['?stdin=true', 1, 'x', 'invalid_argument'],
      ['?stdin=true', 77, 'x', 'invalid_argument'],
    ]
    for (const [query, channel, body, code] of bad) {
      const client = await attach(`/v1/containers/a3/attach${query}`).opened()
      client.send(channel, body)
      const { error } = z.strictObject({ error: z.looseObject({ code: z.string() }) }).parse(await client.ended())
      assert.equal(error.code, code, `${channel} ${body}`)
    }
    const empty = await attach('/v1/containers/a3/attach').opened()
    empty.socket.send(Buffer.alloc(0))
    assert.match(JSON.stringify(await empty.ended()), /channel none takes no messages/)
    const { status } = z.looseObject({ status: z.string() }).parse((await http('GET', '/v1/containers/a3')).json)
    assert.equal(status, 'running')
  })

  test('a terminal has the size that was sent last', async () => {
    await run('t1', 'read line; stty size; read line', { tty: true, stdin: true })
    const client = await attach('/v1/containers/t1/attach?stdin=true').opened()
    client.send(4, JSON.stringify({ width: 91, height: 17 }))
    client.send(0, '\n')
    await client.sees(() => client.stdout.includes('17 91'))
    client.send(0, '\n')
    assert.equal(exitSchema.parse(await client.ended()).exitCode, 0)
  })

  test('an exec has streams of its own, its output from the start, and its own exit', async () => {
    await run('e1', 'sleep 1000')
    await submit('task.exec', 'e1', { execId: 'x1', args: ['sh', '-c', 'echo out; cat; exit 4'], stdin: true })
    const client = await attach('/v1/containers/e1/execs/x1/attach?stdin=true').opened()
    await client.sees(() => client.stdout === 'out\n')
    client.send(0, 'in\n')
    client.send(255, Uint8Array.of(0))
    assert.equal(exitSchema.parse(await client.ended()).exitCode, 4)
    assert.equal(client.stdout, 'out\nin\n')
  })

  test('a client that does not read gets all of it later; others are not held up by it', async () => {
    await run('s1', 'read go; seq 200000; read stop', { stdin: true })
    const slow = await attach('/v1/containers/s1/attach').opened()
    slow.socket.pause()
    const quick = await attach('/v1/containers/s1/attach?stdin=true').opened()
    quick.send(0, 'go\n')
    await quick.sees(() => quick.stdout.endsWith('\n200000\n'))
    slow.socket.resume()
    quick.send(0, 'stop\n')
    await quick.ended()
    exitSchema.parse(await slow.ended())
    assert.ok(quick.stdout === slow.stdout, `${quick.stdout.length} and ${slow.stdout.length} characters`)
  })

  test('streams whose clients went away are not kept', async () => {
    await run('g1', 'sleep 1000')
    const openStreams = async () => {
      const { text } = await http('GET', '/metrics')
      return [...text.matchAll(/^purser_api_streams_open\{.*\} (\d+)$/gm)].reduce((sum, [, n]) => sum + Number(n), 0)
    }
    const responses = await Promise.all(
      ['/v1/containers/g1/logs?follow', '/v1/events?follow', '/v1/events?follow&type=none'].flatMap((path) =>
        Array.from({ length: 5 }, () => open(at.node.socketPath, path)),
      ),
    )
    assert.equal(await openStreams(), 15)
    for (const response of responses) response.destroy()
    while ((await openStreams()) > 0); // The test's own time limit ends it.
  })
})
