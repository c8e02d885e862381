import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, rmdir, statfs, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { parseVerifier } from '../../src/archive/note.ts'
import { verifyArchive } from '../../src/archive/verify.ts'
import { mount, umount } from '../../src/host/syscalls.ts'
import { readHeadWitness } from '../../src/log/head-witness.ts'
import { startNode, type TestNode } from '../support/daemon.ts'
import { checkBooks, type EventView, events, eventually, gone, instant, rounds, submit } from '../support/faults.ts'

const skip = process.env.REDIS_URL ? 'the Redis is not the daemon’s own' : false

/** All events, checked: dense, each once, and what is sealed is as it was signed. */
async function soundEvents(node: TestNode): Promise<EventView[]> {
  const all = await events(node)
  assert.deepEqual(
    all.map(({ position }) => position),
    all.map((_, index) => index + 1),
  )
  const { key } = (await node.http('GET', '/v1/log')).json as { key: string }
  const verified = await verifyArchive({ dir: join(node.root, 'log'), verifier: parseVerifier(key) })
  assert.equal(verified.fault, undefined)
  return all
}

const created = (all: readonly EventView[]): string[] =>
  all.filter(({ type }) => type === 'namespace.created').map(({ subject }) => subject.slice('namespace/'.length))

/** Callers that create namespaces until they are stopped. */
function callers(node: TestNode, count: number, prefix: string) {
  const acknowledged: string[] = []
  const refused: { status: number; text: string }[] = []
  const stop = new AbortController()
  const call = async (lane: number) => {
    for (let index = 0; !stop.signal.aborted; index++) {
      const name = `${prefix}l${lane}n${index}`
      const answer = await submit(node, { type: 'namespace.create', subject: name }).catch(() => undefined)
      if (answer?.status === 200) acknowledged.push(name)
      else {
        if (answer !== undefined) refused.push(answer)
        await delay(5)
      }
    }
  }
  const done = Promise.all(Array.from({ length: count }, (_, lane) => call(lane)))
  return {
    acknowledged,
    refused,
    async stop() {
      stop.abort()
      await done
    },
  }
}

test('a daemon killed again and again while it seals loses no event, doubles none, and leaves no torn segment', async (t) => {
  await using node = await startNode({ config: '[log]\nsegmentEvents = 3\ntailEvents = 4' })
  const acknowledged: string[] = []
  let before: EventView[] = []
  for (const round of rounds(10)) {
    const calling = callers(node, 2, `r${round}`)
    const sealing = new AbortController()
    const sealed = (async () => {
      while (!sealing.signal.aborted) await node.http('POST', '/v1/log/seal').catch(() => delay(1))
    })()
    await node.kill9After(50 + instant(t, `round ${round}: killed, 50 ms and`, 400))
    sealing.abort()
    await Promise.all([calling.stop(), sealed])
    acknowledged.push(...calling.acknowledged)
    await node.restart()
    const after = await soundEvents(node)
    assert.deepEqual(after.slice(0, before.length), before)
    before = after
  }
  const names = created(before)
  assert.equal(new Set(names).size, names.length)
  assert.deepEqual(
    acknowledged.filter((name) => !names.includes(name)),
    [],
  )
  assert.equal((await node.http('POST', '/v1/log/seal')).status, 200)
  const { segments, sealed } = (await node.http('GET', '/v1/log')).json as { segments: number; sealed: number }
  t.diagnostic(`${acknowledged.length} acknowledged, ${sealed} events in ${segments} segments`)
  assert.ok(segments > 30)
  assert.deepEqual((await soundEvents(node)).slice(0, before.length), before)
  await checkBooks(node)
})

/** A disk for the archive of a node alone. */
async function newDisk(sizeMiB: number) {
  const path = await mkdtemp(join(tmpdir(), 'disk-'))
  mount('tmpfs', path, 'tmpfs', 0, `size=${sizeMiB}m`)
  return {
    /** Has a node keep its archive there, from its beginning. */
    async use(node: TestNode) {
      await node.stop()
      await rm(join(node.root, 'log'), { recursive: true })
      await symlink(path, join(node.root, 'log'))
      await node.restart()
    },
    async fill() {
      const { bavail, bsize } = await statfs(path)
      await writeFile(join(path, 'filler'), Buffer.alloc(bavail * bsize))
    },
    free: () => rm(join(path, 'filler')),
    async [Symbol.asyncDispose]() {
      umount(path)
      await rmdir(path)
    },
  }
}

test('with the disk of the archive full, appends go on; with space again all of it is sealed', { skip }, async () => {
  await using disk = await newDisk(1)
  await using node = await startNode({ config: '[log]\ntailEvents = 4' })
  await disk.use(node)
  await disk.fill()

  const names = Array.from({ length: 40 }, (_, index) => `n${index}`)
  for (const name of names) {
    const answer = await submit(node, { type: 'namespace.create', subject: name })
    assert.equal(answer.status, 200, answer.text)
  }
  const refused = await node.http('POST', '/v1/log/seal')
  assert.equal(refused.status, 507, refused.text)
  assert.match(refused.text, /ENOSPC/)
  assert.equal(((await node.http('GET', '/v1/log')).json as { sealed: number }).sealed, 0)
  const before = await events(node)
  // Killed with the disk full, it starts again, and goes on.
  await node.kill9()
  await node.restart()
  assert.deepEqual(await events(node), before)
  assert.equal((await submit(node, { type: 'namespace.create', subject: 'late' })).status, 200)

  await disk.free()
  assert.equal((await node.http('POST', '/v1/log/seal')).status, 200)
  const after = await soundEvents(node)
  assert.deepEqual(after.slice(0, before.length), before)
  assert.deepEqual(created(after).sort(), [...names, 'late'].sort())
  assert.equal(((await node.http('GET', '/v1/log')).json as { sealed: number }).sealed, after.length)
  await checkBooks(node)
})

test('at maxmemory callers are refused with what to do, nothing is half written, and sealing makes room', {
  skip,
}, async (t) => {
  await using node = await startNode({ config: '[log]\ntailEvents = 2' })
  const redis = new Redis(join(node.state, 'redis/redis.sock'))
  t.after(() => redis.disconnect())
  const used = Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1])
  await redis.config('SET', 'maxmemory', used + 3_000_000)
  const labels = Object.fromEntries(Array.from({ length: 16 }, (_, index) => [`l${index}`, 'x'.repeat(3000)]))
  const acknowledged: string[] = []
  let refused: { status: number; text: string } | undefined
  for (let index = 0; refused === undefined && index < 1000; index++) {
    const answer = await submit(node, { type: 'namespace.create', subject: `n${index}`, payload: { labels } })
    if (answer.status === 200) acknowledged.push(`n${index}`)
    else refused = answer
  }
  t.diagnostic(`refused after ${acknowledged.length}: ${refused?.text}`)
  assert.equal(refused?.status, 507)
  assert.match(refused?.text ?? '', /maxmemory/)
  assert.match(refused?.text ?? '', /purser log seal/)
  const full = await soundEvents(node)
  assert.deepEqual(
    created(full).filter((name) => name.startsWith('n')),
    acknowledged,
  )

  assert.equal((await node.http('POST', '/v1/log/seal')).status, 200)
  const answer = await submit(node, { type: 'namespace.create', subject: 'room-again', payload: { labels } })
  assert.equal(answer.status, 200, answer.text)
  assert.deepEqual((await soundEvents(node)).slice(0, full.length), full)
  await redis.config('SET', 'maxmemory', 0)
  await checkBooks(node)
})

test('with the archive and Redis full, callers are refused until there is room; nothing acknowledged is lost', {
  skip,
}, async (t) => {
  await using disk = await newDisk(8)
  await using node = await startNode({ config: '[log]\ntailEvents = 2\nsegmentEvents = 100' })
  await disk.use(node)
  await disk.fill()
  const redis = new Redis(join(node.state, 'redis/redis.sock'))
  redis.on('error', () => {}) // It is gone before the test is.
  t.after(() => redis.disconnect())
  const used = Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1])
  await redis.config('SET', 'maxmemory', used + 3_000_000)
  const labels = Object.fromEntries(Array.from({ length: 16 }, (_, index) => [`l${index}`, 'x'.repeat(3000)]))
  const create = (subject: string) => submit(node, { type: 'namespace.create', subject, payload: { labels } })
  const acknowledged: string[] = []
  let refused: { status: number; text: string } | undefined
  for (let index = 0; refused === undefined && index < 1000; index++) {
    const answer = await create(`n${index}`)
    if (answer.status === 200) acknowledged.push(`n${index}`)
    else refused = answer
  }
  assert.ok(acknowledged.length > 5, 'appends went on while Redis had room')
  assert.equal(refused?.status, 507)
  assert.match(refused?.text ?? '', /maxmemory/)
  const sealing = await node.http('POST', '/v1/log/seal')
  assert.equal(sealing.status, 507, sealing.text)
  assert.match(sealing.text, /free space/)
  assert.equal((await create('refused')).status, 507)
  assert.equal((await node.http('GET', '/v1/namespaces')).status, 200)
  const full = await soundEvents(node)

  await disk.free()
  assert.equal((await node.http('POST', '/v1/log/seal')).status, 200)
  const answer = await create('room-again')
  assert.equal(answer.status, 200, answer.text)
  const after = await soundEvents(node)
  assert.deepEqual(after.slice(0, full.length), full)
  assert.deepEqual(
    created(after).filter((name) => name !== 'default'),
    [...acknowledged, 'room-again'],
  )
  await redis.config('SET', 'maxmemory', 0)
  await checkBooks(node)
})

test('with Redis killed under 16 callers, everything that was acknowledged is there, once', { skip }, async (t) => {
  await using node = await startNode()
  const acknowledged: string[] = []
  for (const round of rounds(3)) {
    const calling = callers(node, 16, `r${round}`)
    await eventually(
      async () => calling.acknowledged.length,
      (count) => count > 20,
    )
    await delay(instant(t, `round ${round}: redis killed`, 100))
    const pid = Number(await readFile(join(node.root, 'redis/redis.pid'), 'utf8'))
    process.kill(pid, 'SIGKILL')
    await gone(pid)
    const then = calling.acknowledged.length
    await eventually(
      async () => calling.acknowledged.length,
      (count) => count > then + 50,
    )
    await calling.stop()
    for (const { status, text } of calling.refused) assert.equal(status, 503, text)
    acknowledged.push(...calling.acknowledged)
  }
  const all = await soundEvents(node)
  const names = created(all)
  t.diagnostic(`${acknowledged.length} acknowledged, ${names.length} created`)
  assert.equal(new Set(names).size, names.length)
  const there = new Set(names)
  assert.deepEqual(
    acknowledged.filter((name) => !there.has(name)),
    [],
  )
  const witness = readHeadWitness(join(node.root, 'log/head')) ?? 0
  assert.equal(witness, all.length)
  await checkBooks(node)
})
