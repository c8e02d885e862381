import assert from 'node:assert/strict'
import { readdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseVerifier } from '../../src/archive/note.ts'
import { verifyArchive } from '../../src/archive/verify.ts'
import { startCliNode } from '../support/cli.ts'
import { startNode, type TestNode } from '../support/daemon.ts'
import { checkBooks, events, gone, pidOf, submit, taskOf } from '../support/faults.ts'
import { loseRedis, offline, restored } from '../support/offline.ts'

const skip = process.env.REDIS_URL ? 'the Redis is not the daemon’s own' : false

const create = async (node: TestNode, ...names: string[]): Promise<void> => {
  for (const name of names) {
    const made = await submit(node, { type: 'namespace.create', subject: name })
    assert.equal(made.status, 200, made.text)
  }
}

async function killRedis(node: TestNode): Promise<void> {
  const pid = Number(await readFile(join(node.root, 'redis/redis.pid'), 'utf8'))
  process.kill(pid, 'SIGKILL')
  await gone(pid)
}

/** Everything that a restored node's books must be. */
async function checkRestored(node: TestNode): Promise<void> {
  await checkBooks(node)
  const verified = await node.cli('log', 'verify')
  assert.equal(verified.exitCode, 0, verified.stdout + verified.stderr)
  const all = await events(node)
  assert.deepEqual(
    all.map(({ position }) => position),
    all.map((_, index) => index + 1),
  )
}

test('with Redis lost, the log goes on from the archive; each lost position is named and never used again', {
  skip,
}, async () => {
  await using node = await startNode()
  const key = { 'idempotency-key': 'once', prefer: 'wait=20' }
  const request = { type: 'namespace.create', subject: 'one' }
  const first = await node.http('POST', '/v1/commands', request, key)
  await create(node, 'two')
  assert.equal((await node.cli('log', 'seal')).exitCode, 0)
  const sealed = await events(node)
  await create(node, 'three', 'four')
  const before = await events(node)
  assert.equal(await node.stop(), 0)
  await loseRedis(node)

  node.start()
  await assert.rejects(node.ready(), /data_loss|purser log restore/)
  const report = await restored(node)
  assert.deepEqual(
    [report.archiveThrough, report.lost, report.fromRedis, report.head],
    [sealed.length, [{ first: sealed.length + 1, last: before.length }], 0, before.length + 1],
  )

  await node.restart()
  const after = await events(node)
  assert.deepEqual(after.slice(0, sealed.length), sealed)
  for (const { type } of after.slice(sealed.length, before.length)) assert.equal(type, 'log.event-lost')
  const record = after[before.length]
  assert.deepEqual(
    [record?.type, record?.data],
    [
      'log.restored',
      {
        archiveThrough: sealed.length,
        tailThrough: before.length,
        lost: { first: sealed.length + 1, last: before.length },
      },
    ],
  )
  await checkRestored(node)
  const again = await node.http('POST', '/v1/commands', request, key)
  assert.equal(again.status, 200, again.text)
  assert.equal((again.json as { id: string }).id, (first.json as { id: string }).id)
  const trail = await node.cli('--format', 'json', 'audit', '--action', 'namespace.create')
  assert.deepEqual(
    (JSON.parse(trail.stdout) as { subject: string }[]).map(({ subject }) => subject).sort(),
    ['namespace/one', 'namespace/two'],
    'what was lost is in no projection either',
  )
})

test('events that only Redis holds are kept', { skip }, async () => {
  await using node = await startNode()
  await create(node, 'one')
  assert.equal((await node.cli('log', 'seal')).exitCode, 0)
  await create(node, 'two', 'three')
  const before = await events(node)
  await node.kill9() // Redis goes on, and is adopted.
  const report = await restored(node)
  assert.deepEqual([report.lost, report.head], [[], before.length + 1])
  assert.equal(report.fromRedis, before.length - report.archiveThrough)
  await node.restart()
  assert.deepEqual((await events(node)).slice(0, before.length), before)
  await checkRestored(node)
})

test('an append-only file that lost its end is noticed at the start, and restored up to there', { skip }, async (t) => {
  await using node = await startNode()
  await create(node, 'one')
  assert.equal((await node.cli('log', 'seal')).exitCode, 0)
  await create(node, 'two', 'three', 'four')
  const before = await events(node)
  await node.kill9()
  await killRedis(node)
  const dir = join(node.root, 'redis/appendonlydir')
  const name = (await readdir(dir)).find((each) => each.endsWith('.incr.aof')) ?? ''
  const bytes = await readFile(join(dir, name))
  await truncate(join(dir, name), bytes.lastIndexOf('namespace.created') + 40)

  node.start()
  await assert.rejects(node.ready(), /were acknowledged/)
  const { lost, fromRedis, archiveThrough } = await restored(node)
  t.diagnostic(`lost ${JSON.stringify(lost)}, kept ${fromRedis} of ${before.length - archiveThrough}`)
  assert.equal(lost.length, 1)
  assert.equal(lost[0]?.first, archiveThrough + fromRedis + 1)
  assert.equal(lost[0]?.last, before.length)
  assert.ok(fromRedis > 0)
  await node.restart()
  assert.deepEqual(
    (await events(node)).slice(0, archiveThrough + fromRedis),
    before.slice(0, archiveThrough + fromRedis),
  )
  await checkRestored(node)
})

test('an append-only file that Redis cannot read is set aside', { skip }, async () => {
  await using node = await startNode()
  await create(node, 'one')
  assert.equal((await node.cli('log', 'seal')).exitCode, 0)
  assert.equal(await node.stop(), 0)
  const dir = join(node.root, 'redis/appendonlydir')
  const name = (await readdir(dir)).find((each) => each.endsWith('.incr.aof')) ?? ''
  const bytes = await readFile(join(dir, name))
  bytes.fill('x', 200, 300)
  await writeFile(join(dir, name), bytes)
  const { aside, lost } = await restored(node)
  assert.deepEqual(lost, [])
  assert.deepEqual(await readFile(join(aside ?? '', name)), bytes)
  await node.restart()
  await checkRestored(node)
})

test('restored, the log and the host are brought together: what the log knows goes on, what it lost is ended', {
  skip,
}, async () => {
  await using at = await startCliNode()
  const { node, image } = at
  const args = ['sh', '-c', 'while true; do sleep 0.05; done']
  const run = async (id: string) => {
    const ran = await submit(node, { type: 'container.run', subject: id, payload: { image, options: { args } } })
    assert.equal(ran.status, 200, ran.text)
    return await pidOf(node, id)
  }
  const known = await run('known')
  assert.equal((await node.cli('log', 'seal')).exitCode, 0)
  const unknown = await run('unknown')
  await node.kill9()
  await killRedis(node)
  await loseRedis(node)
  const { lost } = await restored(node)
  assert.equal(lost.length, 1)
  process.kill(unknown, 0)
  await node.restart()
  await gone(unknown)
  assert.match(await node.logs(), /"id":"unknown","msg":"a task that the log does not know was ended and removed"/)
  assert.deepEqual([(await taskOf(node, 'known')).status, (await taskOf(node, 'known')).pid], ['running', known])
  await checkRestored(node)
  // The same name can be used again.
  await run('unknown')
})

test('what was removed in the lost events, and the restored log still knows, is pulled again', { skip }, async () => {
  await using at = await startCliNode()
  const { node, image } = at
  assert.equal((await node.cli('log', 'seal')).exitCode, 0)
  for (const verb of [['rmi', image], ['gc']]) assert.equal((await node.cli(...verb)).exitCode, 0)
  await node.kill9()
  await killRedis(node)
  await loseRedis(node)
  const { lost } = await restored(node)
  assert.equal(lost.length, 1)
  await node.restart()
  const gone = (await events(node, 'image/*')).filter(({ type }) => type === 'image.deleted')
  assert.equal(gone.length, 1)
  const ran = await node.cli('run', '--rm', image, 'echo', 'again')
  assert.deepEqual([ran.exitCode, ran.stdout], [0, 'again\n'], ran.stderr)
  for (const verb of [['rmi', image], ['gc']]) assert.equal((await node.cli(...verb)).exitCode, 0)
  await checkRestored(node)
})

test('nothing is restored while the daemon runs, nor from an archive that was altered', { skip }, async () => {
  await using node = await startNode()
  await create(node, 'one')
  assert.equal((await node.cli('log', 'seal')).exitCode, 0)
  const running = await offline(node, 'log', 'restore')
  assert.equal(running.exitCode, 65)
  assert.match(running.stderr, /another daemon, process \d+, uses/)
  assert.equal(await node.stop(), 0)
  const dir = join(node.root, 'log/segments')
  const [name = ''] = await readdir(dir)
  const bytes = await readFile(join(dir, name))
  await writeFile(join(dir, name), bytes.with(60, (bytes[60] ?? 0) ^ 4))
  const altered = await offline(node, 'log', 'restore')
  assert.equal(altered.exitCode, 65, altered.stdout)
  assert.match(altered.stderr, /event \d+/)
  await writeFile(join(dir, name), bytes)
  await node.restart()
  await checkRestored(node)
})

test('a backup is taken into an empty node, also in parts; one that is cut, altered or incomplete is not', {
  skip,
}, async () => {
  await using node = await startNode()
  await create(node, 'one', 'two')
  const whole = (await node.cli('log', 'export')).stdout
  const through = whole.trim().split('\n').length - 1
  await create(node, 'three')
  const rest = (await node.cli('log', 'export', '--since', String(through))).stdout
  const zipped = join(node.dir, 'all.zst')
  const child = node.spawnCli('log', 'export', '--zstd')
  child.stdin.end()
  await writeFile(zipped, (await child.stdout?.toArray()) ?? [])
  const before = await events(node)
  const key = join(node.dir, 'key')
  await writeFile(key, (await node.cli('log', 'key')).stdout)
  const parts = [join(node.dir, 'a'), join(node.dir, 'b')] as const
  await writeFile(parts[0], whole)
  await writeFile(parts[1], rest)

  for (const files of [[zipped], [...parts]]) {
    await using empty = await startNode()
    await empty.stop()
    const lines = whole.split('\n')
    const bad = join(empty.dir, 'bad')
    for (const [text, why] of [
      [whole.slice(0, 700), /cut off in the middle/],
      [lines.toSpliced(2, 1).join('\n'), /event 3 is missing/],
      [whole.replace('"one"', '"oNe"').replace('/one"', '/oNe"'), /not the \d+ that were signed/],
      [rest, /event 1 is missing/],
    ] as const) {
      await writeFile(bad, text)
      const { exitCode, stderr } = await offline(empty, 'log', 'import', bad)
      assert.equal(exitCode, 65, stderr)
      assert.match(stderr, why)
    }
    const imported = await offline(empty, 'log', 'import', '--key', key, ...files)
    assert.equal(imported.exitCode, 0, imported.stderr)
    assert.equal(imported.stderr, '')
    const twice = await offline(empty, 'log', 'import', '--key', key, ...files)
    assert.equal(twice.exitCode, 65)
    assert.match(twice.stderr, /has a log already/)
    await empty.restart()
    assert.deepEqual((await events(empty)).slice(0, before.length), before)
    await checkRestored(empty)
    const verifier = parseVerifier(((await empty.http('GET', '/v1/log')).json as { key: string }).key)
    assert.equal((await verifyArchive({ dir: join(empty.root, 'log'), verifier })).fault, undefined)
  }
})
