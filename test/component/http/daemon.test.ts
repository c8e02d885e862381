import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, stat } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { z } from 'zod'
import { commandSchema } from '../../../src/api/http/schemas.ts'
import { startNode } from '../../support/daemon.ts'
import { startApi } from '../../support/http.ts'

/** Asks through a process of another user. @returns what it wrote, and its process id */
async function askAs(uid: number, gid: number, socketPath: string) {
  const ids = [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups']
  const body = JSON.stringify({ type: 'namespace.create', subject: `by${uid}` })
  const curl = ['curl', '-sS', '--unix-socket', socketPath, '-d', body, '-H', 'content-type: application/json']
  const child = spawn('setpriv', [...ids, ...curl, 'http://purser/v1/commands'])
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  return { stdout, stderr, pid: child.pid }
}

test('whoever asks is recorded with user, group, process and program, in the command and its events', async () => {
  await using api = await startApi({ group: 'nogroup' })
  const nogroup = 65534
  const asked = await askAs(4711, nogroup, api.socketPath)
  const command = commandSchema.parse(JSON.parse(asked.stdout))
  assert.equal(command.actor, `unix:uid=4711,gid=${nogroup},pid=${asked.pid},exe=/usr/bin/curl`)
  const events = await Array.fromAsync(api.log.read(0))
  assert.deepEqual(new Set(events.map(({ actor }) => actor)), new Set([command.actor]))
  const own = commandSchema.parse((await api.http('POST', '/v1/commands', { type: 'image.pull', subject: 'b' })).json)
  assert.match(own.actor, new RegExp(`^unix:uid=0,gid=0,pid=${process.pid},exe=`))
})

test('the socket is for root and one group; without that group it is root’s', async () => {
  await using api = await startApi({ group: 'nogroup' })
  const shared = await stat(api.socketPath)
  assert.deepEqual([shared.mode & 0o777, shared.uid, shared.gid], [0o660, 0, 65534])
  await using own = await startApi({ group: 'no-such-group' })
  const alone = await stat(own.socketPath)
  assert.deepEqual([alone.mode & 0o777, alone.uid, alone.gid], [0o660, 0, 0])
  const refused = await askAs(4711, 65534, own.socketPath)
  assert.match(refused.stderr, /Couldn't connect|Could not connect|Permission denied/)
})

test('what a client claims to be is not looked at', async () => {
  await using api = await startApi()
  const headers = { 'x-remote-user': 'root', 'purser-actor': 'unix:uid=1', forwarded: 'for=1.2.3.4' }
  const answer = await api.http('POST', '/v1/commands', { type: 'image.pull', subject: 'b' }, headers)
  assert.match(commandSchema.parse(answer.json).actor, /^unix:uid=0,gid=0/)
  assert.equal((await api.http('POST', '/v1/commands', { type: 'image.pull', subject: 'b', actor: 'x' })).status, 400)
})

test('a socket file that an earlier daemon left is taken over, one that is served is not', async () => {
  await using api = await startApi()
  const { listenOn } = await import('../../../src/api/http/socket-file.ts')
  const { createServer } = await import('node:http')
  await assert.rejects(listenOn(createServer(), api.socketPath, 'purser'), { code: 'already_exists' })
  assert.equal((await api.http('GET', '/healthz')).status, 200)
})

/** The text format, by its grammar. @see Prometheus, "Exposition formats" */
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*\})? (\S+)$/

function checkMetrics(exposed: string): Map<string, string> {
  assert.ok(exposed.endsWith('\n'))
  const types = new Map<string, string>()
  const helped = new Set<string>()
  const series = new Set<string>()
  for (const line of exposed.split('\n').filter((each) => each !== '')) {
    const [, what, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? []
    if (what === 'TYPE') {
      assert.match(rest, /^(counter|gauge|histogram|summary)$/)
      assert.ok(!types.has(name), `${name} has two types`)
      types.set(name, rest)
    } else if (what === 'HELP') {
      assert.notEqual(rest, '')
      helped.add(name)
    } else {
      const [, sample = '', labels = '', value] = SAMPLE.exec(line) ?? assert.fail(`not a sample: ${line}`)
      assert.ok(value === 'NaN' || value === '+Inf' || !Number.isNaN(Number(value)), line)
      assert.ok(!series.has(sample + labels), `twice: ${line}`)
      series.add(sample + labels)
      const family = types.has(sample) ? sample : sample.replace(/_(bucket|sum|count)$/, '')
      assert.ok(types.has(family) && helped.has(family), `${sample} has no type or no help`)
      if (types.get(family) === 'counter') assert.match(family, /_total$/)
    }
  }
  return types
}

test('a daemon answers for itself: health, readiness, version, facts, metrics; its directories are its own', async () => {
  await using node = await startNode()
  const json = async (path: string) => (await node.http('GET', path)).json
  assert.deepEqual(await json('/healthz'), { status: 'ok' })
  assert.deepEqual(await json('/readyz'), { status: 'ready' })
  const { version } = z.looseObject({ version: z.string() }).parse(JSON.parse(await readFile('package.json', 'utf8')))
  assert.equal(z.looseObject({ version: z.string() }).parse(await json('/v1/version')).version, version)
  assert.equal(z.looseObject({ pid: z.int() }).parse(await json('/v1/info')).pid, node.pid)
  const check = await node.http('POST', '/v1/state/rebuild?mode=check')
  assert.deepEqual(z.looseObject({ differences: z.array(z.unknown()) }).parse(check.json).differences, [])

  await node.http('GET', '/v1/containers/no%22such%0A')
  const metrics = await node.http('GET', '/metrics')
  assert.equal(metrics.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8')
  const types = checkMetrics(metrics.text)
  assert.equal(types.get('purser_api_request_duration_seconds'), 'histogram')
  assert.equal(types.get('purser_log_position'), 'gauge')
  assert.match(
    metrics.text,
    /purser_api_request_duration_seconds_count\{surface="http",route="GET \/v1\/containers\/\{id\}",status="404",waits="false"\} 1/,
  )

  assert.equal((await stat(node.root)).mode & 0o777, 0o700)
  assert.equal((await stat(node.state)).mode & 0o777, 0o711) // The socket's own mode says who may use it.
  for (const dir of ['redis', 'mounts']) assert.equal((await stat(`${node.state}/${dir}`)).mode & 0o777, 0o700, dir)
})

test('a daemon whose Redis does not answer is alive but not ready, and ready again when it does', async () => {
  await using node = await startNode()
  const redis = Number(await readFile(`${node.root}/redis/redis.pid`, 'utf8'))
  process.kill(redis, 'SIGSTOP')
  try {
    assert.equal((await node.http('GET', '/healthz')).status, 200)
    const answer = await node.http('GET', '/readyz')
    assert.equal(answer.status, 503)
    assert.equal(answer.headers['content-type'], 'application/problem+json')
    assert.match(answer.text, /Redis does not answer/)
    assert.equal((await node.http('GET', '/v1/containers')).status, 200) // Reads need no Redis.
    assert.match((await node.http('GET', '/metrics')).text, /^purser_redis_up 0$/m)
  } finally {
    process.kill(redis, 'SIGCONT')
  }
  await node.ready()
})
