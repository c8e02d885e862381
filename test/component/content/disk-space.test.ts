import assert from 'node:assert/strict'
import { mkdtemp, rmdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { DiskSpace } from '../../../src/content/disk-space.ts'
import { mount, umount } from '../../../src/host/syscalls.ts'

const MIB = 1 << 20

/** A file system of 16 MiB, of which one stays free. */
async function fixture() {
  const path = await mkdtemp(join(tmpdir(), 'space-'))
  mount('tmpfs', path, 'tmpfs', 0, 'size=16m')
  const disk = new DiskSpace({ path, floor: { bytes: MIB, shareMax: 0.5 } })
  return {
    path,
    disk,
    async [Symbol.asyncDispose]() {
      umount(path)
      await rmdir(path)
    },
  }
}

test('what is promised to one is not free for another, until it is given back', async () => {
  await using at = await fixture()
  const [one, other] = await at.disk.reserve('a', [8 * MIB, 4 * MIB])
  await assert.rejects(at.disk.reserve('registry/b:latest', [4 * MIB]), {
    code: 'resource_exhausted',
    message:
      'registry/b:latest needs 4194304 bytes of disk space: 16777216 are free, of which 1048576 stay free and 12582912 are reserved',
  })
  other?.[Symbol.dispose]()
  const [third] = await at.disk.reserve('b', [4 * MIB])
  for (const each of [one, third]) each?.[Symbol.dispose]()
  assert.equal((await at.disk.available()).bytes, 15 * MIB)
})

test('what is written counts once', async () => {
  await using at = await fixture()
  const [reserved] = await at.disk.reserve('a', [8 * MIB])
  await writeFile(join(at.path, 'file'), Buffer.alloc(6 * MIB))
  assert.equal((await at.disk.available()).bytes, MIB)
  reserved?.used(6 * MIB)
  assert.equal((await at.disk.available()).bytes, 7 * MIB)
})

test('more than was asked for is had as long as there is some', async () => {
  await using at = await fixture()
  const [reserved] = await at.disk.reserve('a', [MIB])
  assert.equal(await reserved?.extend(2 * MIB, 8 * MIB), 8 * MIB)
  assert.equal(await reserved?.extend(9 * MIB, 99 * MIB), 15 * MIB)
  assert.equal((await at.disk.available()).bytes, 0)
  await assert.rejects(reserved?.extend(15 * MIB + 1, 15 * MIB + 1) ?? Promise.resolve(), {
    code: 'resource_exhausted',
  })
})

test('on a small disk a share of it stays free', async () => {
  await using at = await fixture()
  const disk = new DiskSpace({ path: at.path, floor: { bytes: 2 ** 30, shareMax: 0.25 } })
  assert.deepEqual(await disk.available(), { bytes: 12 * MIB, freeBytes: 16 * MIB, floorBytes: 4 * MIB })
})
