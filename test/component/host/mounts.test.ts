import assert from 'node:assert/strict'
import { closeSync, mkdirSync, openSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { relativeOverlayOptions } from '../../../src/host/long-overlay.ts'
import {
  listMounts,
  mountAll,
  mountTemporarily,
  parseMountinfo,
  parseMountOptions,
  removeTemporaryMounts,
  unmount,
} from '../../../src/host/mounts.ts'
import { AT_FDCWD, MS, O, openat2, RESOLVE } from '../../../src/host/syscalls.ts'
import { temporaryDirectory } from '../../support/trees.ts'

const signal = AbortSignal.timeout(30_000)

test('options become flags, propagation and data, and later ones undo earlier ones', () => {
  assert.deepEqual(parseMountOptions(['rbind', 'ro', 'rw', 'rprivate', 'size=1m', 'constructor']), {
    flags: MS.BIND | MS.REC,
    propagation: [MS.PRIVATE | MS.REC],
    data: ['size=1m', 'constructor'],
  })
})

test('a read-only bind mount is read-only, and a mount is listed while it is there', async () => {
  using work = temporaryDirectory()
  const source = join(work.path, 'a b\\c')
  mkdirSync(source)
  {
    await using mounted = await mountTemporarily(
      [{ type: 'bind', source, options: ['rbind', 'ro'] }],
      work.path,
      signal,
    )
    assert.throws(() => writeFileSync(join(mounted.path, 'x'), ''), { code: 'EROFS' })
    const found = listMounts().find(({ target }) => target === mounted.path)
    assert.ok(found?.options.includes('ro'))
    assert.ok(found?.root.endsWith('/a b\\c'))
  }
  assert.deepEqual(readdirSync(work.path), ['a b\\c'])
})

test('temporary mounts of a process that was killed are taken away, and what was mounted stays', async () => {
  using work = temporaryDirectory()
  const [source, dir] = [join(work.path, 'source'), join(work.path, 'mounts')]
  for (const each of [source, dir]) mkdirSync(each)
  writeFileSync(join(source, 'file'), '')
  const bind = { type: 'bind', source, options: ['rbind'] }
  for (const mounts of [[bind], [bind, bind]]) await mountTemporarily(mounts, dir, signal)
  await removeTemporaryMounts(dir)
  assert.deepEqual(readdirSync(dir), [])
  assert.deepEqual(readdirSync(source), ['file'])
  assert.ok(listMounts().every(({ target }) => !target.startsWith(dir)))
})

test('when one of several mounts fails, the ones before it are taken away', async () => {
  using work = temporaryDirectory()
  const target = join(work.path, 'target')
  mkdirSync(target)
  const mounts = [
    { type: 'tmpfs', source: 'tmpfs', options: ['size=1m'] },
    { type: 'nosuchfs', source: 'none', options: [] },
  ]
  await assert.rejects(mountAll(mounts, target, AbortSignal.timeout(60_000)), {
    code: 'failed_precondition',
    message: /nosuchfs/,
  })
  assert.ok(!listMounts().some((each) => each.target === target))
})

test('all mounts of a target go, also one in use; where none is, nothing happens', async () => {
  using work = temporaryDirectory()
  const target = join(work.path, 'target')
  mkdirSync(target)
  const tmpfs = { type: 'tmpfs', source: 'tmpfs', options: [] }
  await mountAll([tmpfs, tmpfs], target, AbortSignal.timeout(60_000))
  writeFileSync(join(target, 'open'), '')
  const fd = openSync(join(target, 'open'), 'r')
  unmount(target)
  closeSync(fd)
  unmount(target)
  unmount(join(work.path, 'nowhere'))
  assert.ok(!listMounts().some((each) => each.target === target))
})

test('overlay options become relative to the directory that all share', () => {
  assert.deepEqual(
    relativeOverlayOptions(['index=off', 'upperdir=/r/s/9/fs', 'workdir=/r/s/9/work', 'lowerdir=/r/s/1/fs:/r/s/12/fs']),
    {
      directory: '/r/s',
      options: ['index=off', 'upperdir=9/fs', 'workdir=9/work', 'lowerdir=1/fs:12/fs'],
    },
  )
})

test('mountinfo is read with optional fields and escapes', () => {
  const [first] = parseMountinfo(
    '36 35 98:0 /a\\040b /mnt\\134x rw,noatime master:1 shared:2 - ext4 /dev/root rw,errors=continue\n',
  )
  assert.deepEqual(first, {
    id: 36,
    parentId: 35,
    device: '98:0',
    root: '/a b',
    target: '/mnt\\x',
    options: ['rw', 'noatime'],
    type: 'ext4',
    source: '/dev/root',
    superOptions: ['rw', 'errors=continue'],
  })
})

test('openat2 refuses what leaves the directory, with an errno as node:fs has it', () => {
  using work = temporaryDirectory()
  const fd = openat2(AT_FDCWD, work.path, O.PATH | O.DIRECTORY, 0)
  try {
    assert.throws(() => openat2(fd, '../', O.PATH, RESOLVE.BENEATH), { code: 'EXDEV', syscall: 'openat2' })
    assert.throws(() => openat2(fd, 'none', O.PATH, RESOLVE.BENEATH), { code: 'ENOENT' })
  } finally {
    closeSync(fd)
  }
})
