import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, mkdtempDisposable, open, rm, rmdir, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { z } from 'zod'
import { pushTinyImage } from '../../../scripts/tiny-image.ts'
import { mount, umount } from '../../../src/host/syscalls.ts'
import { startNode } from '../../support/daemon.ts'
import { checkBooks, events, eventually, submit, taskOf } from '../../support/faults.ts'
import { startRegistry, tarLayer } from '../../support/registry.ts'

const DISK_MIB = 58
const skip = process.env.REDIS_URL ? 'the log is on another disk' : false

/** A file system of its own, for a test to fill. */
async function smallDisk() {
  const path = await mkdtemp(join(tmpdir(), 'disk-'))
  mount('tmpfs', path, 'tmpfs', 0, `size=${DISK_MIB}m`)
  return {
    path,
    freeBytes: async () => {
      const { bavail, bsize } = await statfs(path)
      return bavail * bsize
    },
    async [Symbol.asyncDispose]() {
      umount(path)
      await rmdir(path)
    },
  }
}

test('a pull that does not fit says so, gives back what it took, and harms nothing that runs', async (t) => {
  await using registry = await startRegistry()
  await using disk = await smallDisk()
  await using node = await startNode({ parent: disk.path })
  const small = await pushTinyImage({ registry: registry.address, repository: 'small', tag: 'latest' })
  const layers = await Promise.all(
    [0, 1, 2, 3, 4, 5].map((layer) => tarLayer([{ name: `big${layer}`, content: randomBytes(6 << 20) }])),
  )
  const big = await registry.pushImage({ repository: 'big', tag: 'latest', layers })
  assert.equal((await node.cli('pull', '-q', small)).exitCode, 0)
  const options = { args: ['sh', '-c', 'while true; do echo tick; sleep 0.1; done'] }
  const ran = await submit(node, { type: 'container.run', subject: 'ticks', payload: { image: small, options } })
  assert.equal(ran.status, 200, ran.text)
  const before = await events(node)

  for (let attempt = 0; attempt < 3; attempt++) {
    const pulled = await submit(node, { type: 'image.pull', subject: big.reference })
    t.diagnostic(`${pulled.status} ${pulled.text.slice(0, 300)}`)
    assert.equal(pulled.status, 507, pulled.text)
    const problem = z.object({ code: z.string(), detail: z.string(), remedy: z.string() }).parse(pulled.json)
    assert.equal(problem.code, 'resource_exhausted')
    assert.match(problem.detail, /big:latest needs \d+ bytes of disk space: \d+ are free, of which \d+ stay free/)
    assert.match(problem.remedy, /free space/)
    await eventually(
      async () => (await disk.freeBytes()) >> 20,
      (free) => free > DISK_MIB / 2,
    )
  }
  assert.deepEqual((await events(node)).slice(0, before.length), before)
  assert.equal((await taskOf(node, 'ticks')).status, 'running')
  const again = await node.cli('run', '--rm', small, 'echo', 'works')
  assert.deepEqual([again.exitCode, again.stdout], [0, 'works\n'], again.stderr)
  await checkBooks(node)
})

test('a layer that unpacks to more than was thought ends before the disk is full', async (t) => {
  await using registry = await startRegistry()
  await using disk = await smallDisk()
  await using node = await startNode({ parent: disk.path })
  // Far smaller than it looks: only extracting it shows.
  const content = Buffer.alloc(90 << 20, randomBytes(16_384))
  const layers = [await tarLayer([{ name: 'dense', content }]), await tarLayer([{ name: 'small', content: 'x' }])]
  const image = await registry.pushImage({ repository: 'dense', tag: 'latest', layers })
  const before = await disk.freeBytes()
  let least = before
  const looking = setInterval(async () => {
    least = Math.min(least, await disk.freeBytes())
  }, 5)
  const pulled = await submit(node, { type: 'image.pull', subject: image.reference })
  clearInterval(looking)
  t.diagnostic(`${pulled.text.slice(0, 300)}; ${least} bytes were left`)
  assert.equal(pulled.status, 507, pulled.text)
  assert.ok(least > (DISK_MIB << 20) * 0.05, `${least} bytes were left`)
  await eventually(
    () => disk.freeBytes(),
    (free) => free > before - (1 << 20),
  )
  await checkBooks(node)
})

test('an archive that does not fit, and an image that cannot be unpacked again, say so before anything is written', async () => {
  await using registry = await startRegistry()
  await using disk = await smallDisk()
  await using node = await startNode({ parent: disk.path })
  const content = randomBytes((DISK_MIB / 4) << 20)
  const layers = [await tarLayer([{ name: 'random', content }])]
  const image = await registry.pushImage({ repository: 'random', tag: 'latest', layers, compression: 'none' })
  assert.equal((await node.cli('pull', '-q', image.reference)).exitCode, 0)
  await using elsewhere = await mkdtempDisposable(join(tmpdir(), 'archive-'))
  const archive = join(elsewhere.path, 'saved.tar')
  assert.equal((await node.cli('save', '-o', archive, image.reference)).exitCode, 0)

  // The blob and its snapshot take half of the disk; a second snapshot has no room beside what fills the rest.
  const fill = join(disk.path, 'fill')
  await writeFile(fill, Buffer.alloc((DISK_MIB / 4) << 20))
  const before = await disk.freeBytes()
  const unpacked = await submit(node, {
    type: 'snapshot.unpack',
    subject: `native/${image.diffIds[0]}`,
    payload: { image: image.reference },
  })
  assert.equal(unpacked.status, 507, unpacked.text)
  assert.match(unpacked.text, /unpacking .* needs \d+ bytes of disk space/)
  assert.ok((await disk.freeBytes()) > before - (4 << 20))

  await rm(fill)
  assert.equal((await node.cli('rmi', image.reference)).exitCode, 0)
  assert.equal((await node.cli('gc')).exitCode, 0)
  // The archive finds room, and what is in it does not.
  await writeFile(fill, Buffer.alloc((await disk.freeBytes()) - ((DISK_MIB * 0.4) << 20)))
  const loaded = await node.cli('load', '-i', archive)
  assert.equal(loaded.exitCode, 73, loaded.stderr)
  assert.match(loaded.stderr, /loading .* needs \d+ bytes of disk space/)
  await rm(fill)
  assert.equal((await node.cli('load', '-q', '-i', archive)).exitCode, 0)
  await checkBooks(node)
})

test('on a disk that somebody else has filled, requests fail at once; with space again all goes on', {
  skip,
}, async (t) => {
  await using registry = await startRegistry()
  await using disk = await smallDisk()
  await using node = await startNode({ parent: disk.path })
  const image = await pushTinyImage({ registry: registry.address, repository: 'small', tag: 'latest' })
  assert.equal((await node.cli('pull', '-q', image)).exitCode, 0)
  const options = { args: ['sh', '-c', 'while true; do echo tick; sleep 0.05; done'] }
  const ran = await submit(node, { type: 'container.run', subject: 'ticks', payload: { image, options } })
  assert.equal(ran.status, 200, ran.text)
  const ticks = async () => (await node.cli('logs', 'ticks')).stdout.length
  const before = await events(node)

  for (let round = 0; round < 2; round++) {
    const fill = join(disk.path, 'fill')
    const file = await open(fill, 'w')
    const filling = async () => {
      for (let size = 1 << 20; size >= 512; size = size >> 1)
        while (
          await file.write(Buffer.alloc(size)).then(
            () => true,
            () => false,
          )
        );
    }
    await filling()
    const refused = await eventually(
      async () => {
        await filling()
        return await submit(node, { type: 'namespace.create', subject: `n${performance.now()}`.replace('.', '-') })
      },
      ({ status }) => status !== 200,
    )
    t.diagnostic(refused.text)
    assert.equal(refused.status, 507, refused.text)
    assert.ok(refused.text.includes(`free space on the disk that holds ${node.root}`), refused.text)
    // Also its own messages, which are on that disk here, find no place: that does not end it.
    for (let index = 0; index < 50; index++) {
      await filling()
      await submit(node, { type: 'namespace.create', subject: `more${index}` })
    }
    assert.equal((await node.http('GET', '/healthz')).status, 200)
    assert.equal((await taskOf(node, 'ticks')).status, 'running')
    const written = await ticks()
    await file.close()
    await rm(fill)
    await node.ready()
    assert.equal((await node.cli('run', '--rm', image, 'echo', 'works')).stdout, 'works\n')
    await eventually(ticks, (now) => now > written)
    assert.deepEqual((await events(node)).slice(0, before.length), before)
    await checkBooks(node)
  }
  assert.doesNotMatch(await node.logs(), /cannot rollback/)
})
