import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { after, before, describe, test } from 'node:test'
import type { StoredEvent } from '../../../src/client/index.ts'
import { type CliNode, LAUNCHER, startCliNode, watch } from '../../support/cli.ts'

const parsed = (ndjson: string): StoredEvent[] =>
  ndjson
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))

describe('events, history, command and the lists', () => {
  let at: CliNode
  before(async () => {
    at = await startCliNode()
  })
  after(() => at[Symbol.asyncDispose]())

  const json = async (...args: string[]) => JSON.parse((await at.cli(...args, '--format', 'json')).stdout)

  test('events --follow goes on over a kill of the daemon: nothing is missed, nothing comes twice', async () => {
    const child = at.node.spawnCli('events', '--follow', '--since', '0', '--format', 'ndjson')
    const seen = watch(child)
    const saw = (id: string) => seen.sees((stdout) => stdout.includes(`"subject":"container/${id}"`))
    await at.cli('create', '--name', 'e1', at.image)
    await saw('e1')
    await at.node.kill9()
    await at.node.restart()
    await at.cli('create', '--name', 'e2', at.image)
    await saw('e2')
    await at.node.restart()
    await at.cli('create', '--name', 'e3', at.image)
    await saw('e3')
    child.kill('SIGTERM')
    const events = parsed((await seen.closed).stdout.replace(/\n[^\n]*$/, '\n'))
    assert.deepEqual(
      events.map(({ position }) => position),
      events.map((_, index) => index + 1),
    )
    await at.cli('rm', 'e1', 'e2', 'e3')
  })

  test('a follower that has seen no event yet resumes from where it began', async () => {
    const child = at.node.spawnCli('events', '--follow', '--filter', 'type=container.created', '--format', 'ndjson')
    const seen = watch(child)
    // Once the server streams, it has said where it begins.
    const isOpen = async () =>
      /^purser_api_streams_open\{[^}]*\} [1-9]/m.test((await at.node.http('GET', '/metrics')).text)
    while (!(await isOpen())) if (child.exitCode !== null) assert.fail('it ended')
    await at.node.kill9()
    await at.node.restart()
    await at.cli('create', '--name', 'f1', at.image)
    await seen.sees((stdout) => stdout.includes('container/f1'))
    child.kill('SIGTERM')
    assert.equal(parsed((await seen.closed).stdout).length, 1)
    await at.cli('rm', 'f1')
  })

  test('--since takes a position, a time and a duration; --filter narrows; formats are a line or a document', async () => {
    await at.cli('run', '--rm', '--name', 'g1', at.image, 'true')
    while ((await at.cli('ps', '-a', '-q')).stdout.includes('g1')); // Its removal has events too.
    const all = parsed((await at.cli('events', '--format', 'ndjson')).stdout)
    const middle = all[Math.floor(all.length / 2)]
    assert.ok(middle)
    const later = parsed((await at.cli('events', '--since', String(middle.position), '--format', 'ndjson')).stdout)
    assert.deepEqual(later, all.slice(middle.position))
    assert.equal((await at.cli('events', '--since', '2999-01-01T00:00:00Z')).stdout, '')
    assert.equal(parsed((await at.cli('events', '--since', '1h', '--format', 'ndjson')).stdout).length, all.length)
    const filters = ['--filter', 'type=task.*', '--filter', 'container=g1']
    const tasks = parsed((await at.cli('events', ...filters, '--format', 'ndjson')).stdout)
    assert.deepEqual(tasks.map(({ type }) => type).slice(0, 4), [
      'task.creating',
      'task.created',
      'task.started',
      'task.exited',
    ])
    assert.match(
      (await at.cli('events', ...filters)).stdout,
      /^\d+ \S+Z task\.creating default task\/g1 runtime=(?:runc|crun)\n/,
    )
    assert.equal((await at.cli('-n', 'elsewhere', 'events')).stdout, '')
    const earlier = parsed((await at.cli('events', '--until', String(middle.position), '--format', 'ndjson')).stdout)
    assert.deepEqual(earlier, all.slice(0, middle.position))
    const { commandid } = all.find(({ type }) => type === 'task.created') ?? assert.fail('no task was made')
    const ofCommand = ['--filter', `command=${commandid}`, '--filter', 'actor=unix:uid=0,*']
    assert.deepEqual(
      parsed((await at.cli('events', ...ofCommand, '--format', 'ndjson')).stdout),
      all.filter((event) => event.commandid === commandid),
    )
    assert.equal((await at.cli('events', '--follow', '--until', '1h')).exitCode, 64)
  })

  test('history tells who asked for what', async () => {
    await at.cli('run', '--rm', '--name', 'h1', at.image, 'sh', '-c', 'exit 4')
    const { stdout } = await at.cli('history', 'h1')
    assert.match(stdout, /container\.run h1 {2}by uid 0, node \d+/)
    assert.match(stdout, /task\.exited .*exitCode=4/)
    assert.ok((await json('history', 'h1')).length > 10)
  })

  test('command submit, show, ls and cancel', async () => {
    const submitted = await json('command', 'submit', 'gc.collect', 'node', '--payload', '{"mode":"dry-run"}')
    assert.equal(submitted.status, 'succeeded')
    assert.deepEqual(await json('command', 'show', submitted.id), submitted)
    const accepted = await json('command', 'submit', 'gc.collect', 'node', '--wait', '0', '--priority', '3')
    assert.equal(accepted.priority, 3)
    const listed = await json('command', 'ls', '--type', 'gc.*')
    assert.deepEqual(
      listed.slice(0, 2).map(({ id }: { id: string }) => id),
      [accepted.id, submitted.id],
    )
    const cancelled = await at.cli('command', 'cancel', submitted.id)
    assert.equal(cancelled.exitCode, 65)
    assert.match(cancelled.stderr, /has succeeded already/)
    const [inspected] = await json('inspect', submitted.id)
    assert.deepEqual(inspected, submitted)
  })

  test('namespace create, ls and rm; each has its own containers', async () => {
    assert.equal((await at.cli('namespace', 'create', 'n1', 'n2')).stdout, 'n1\nn2\n')
    assert.match((await at.cli('namespace', 'ls')).stdout, /^n1 /m)
    assert.equal((await at.cli('-n', 'n1', 'run', '--rm', at.image, 'echo', 'in-n1')).stdout, 'in-n1\n')
    assert.match((await at.cli('-n', 'n1', 'images', '-q')).stdout, /^[0-9a-f]{12}\n$/)
    const held = await at.cli('namespace', 'rm', 'n1', 'n2')
    assert.equal(held.stdout, 'n2\n')
    assert.match(held.stderr, /^purser: namespace n1 still has 1 images/)
    assert.equal(held.exitCode, 65)
    await at.cli('-n', 'n1', 'rmi', at.image)
  })

  test('images, content, snapshot, task and ps list in a table, as JSON and as lines', async () => {
    await at.cli('run', '-d', '--name', 'listed', '-l', 'role=web', '-l', 'tier=1', at.image, 'sleep', '1000')
    const [image] = await json('images')
    assert.equal(image.name, at.image)
    assert.match(
      (await at.cli('images')).stdout,
      /^REPOSITORY +TAG +IMAGE ID +PLATFORM +CREATED +SIZE\n\S+ +latest +[0-9a-f]{12} +linux\/\w+ .*MB\n$/,
    )
    assert.equal((await json('content', 'ls')).length, 3)
    assert.match((await at.cli('content', 'ls', '-q')).stdout, /^(sha256:[0-9a-f]{64}\n){3}$/)
    assert.ok((await at.cli('snapshot', 'ls')).stdout.includes('overlayfs'))
    assert.match((await at.cli('task', 'ls')).stdout, /^listed +running +\d+ +(?:runc|crun)$/m)
    const ps = async (...args: string[]) => (await at.cli('ps', '-q', ...args)).stdout
    assert.equal(await ps('--filter', 'label=role=web', '--filter', 'label=tier=1'), 'listed\n')
    assert.equal(await ps('--filter', 'label=role=web', '--filter', 'label=tier=2'), '')
    assert.equal(await ps('--filter', 'name=list'), 'listed\n')
    assert.equal(await ps('--filter', 'status=exited'), '')
    const lines = (await at.cli('ps', '--format', 'ndjson')).stdout.split('\n')
    assert.equal(JSON.parse(lines[0] ?? '').id, 'listed')
    await at.cli('rm', '-f', 'listed')
  })

  test('logs --tail, --since, -t and --follow', async () => {
    const code = 'echo one; echo two; echo three >&2; read _; echo four'
    const child = at.node.spawnCli('run', '-i', '--name', 'logged', at.image, 'sh', '-c', code)
    const run = watch(child)
    await run.sees((stdout) => stdout.includes('two'))
    const follower = watch(at.node.spawnCli('logs', '-f', 'logged'))
    await follower.sees((stdout) => stdout.includes('two'))
    child.stdin.end('\n')
    assert.deepEqual(await follower.closed, {
      exitCode: 0,
      signal: null,
      stdout: 'one\ntwo\nfour\n',
      stderr: 'three\n',
    })
    assert.equal((await run.closed).exitCode, 0)
    assert.equal((await at.cli('logs', '--tail', '1', 'logged')).stdout, 'four\n')
    assert.equal((await at.cli('logs', '--tail', 'all', 'logged')).stdout, 'one\ntwo\nfour\n')
    assert.equal((await at.cli('logs', '--since', '2999-01-01T00:00:00Z', 'logged')).stdout, '')
    assert.match((await at.cli('logs', '-t', '--tail', '1', 'logged')).stdout, /^\d{4}-\d\d-\d\dT\S+Z four\n$/)
    await at.cli('rm', 'logged')
  })

  test('info, version, gc and state rebuild --check', async () => {
    assert.match((await at.cli('version')).stdout, /^purser \d+\.\d+\.\d+\n$/)
    assert.equal((await json('version')).name, 'purser')
    assert.ok('node' in (await json('info')))
    assert.deepEqual(await json('gc', '--dry-run'), { garbage: [] })
    const checked = await at.cli('state', 'rebuild', '--check')
    assert.equal(checked.exitCode, 0)
    assert.deepEqual(JSON.parse(checked.stdout).differences, [])
  })

  test('PURSER_ADDRESS and PURSER_NAMESPACE stand in for options that are not given', async () => {
    const env = { ...process.env, PURSER_ADDRESS: at.node.socketPath, PURSER_NAMESPACE: 'elsewhere' }
    const run = (...args: string[]) => spawnSync(LAUNCHER, args, { env, encoding: 'utf8' })
    assert.equal(run('version').status, 0)
    assert.match(run('logs', 'nosuch').stderr, /not in namespace elsewhere/)
    assert.match(run('-n', 'default', 'logs', 'nosuch').stderr, /not in namespace default/)
    assert.equal(run('--address', '/nosuch', 'version').status, 69)
  })
})
