import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  chmodSync,
  closeSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { openRoot } from '../../../src/host/open-in-root.ts'
import { AT_FDCWD, mkfifo, mknodat, S_IFCHR } from '../../../src/host/syscalls.ts'
import { setXattr } from '../../../src/host/xattrs.ts'
import { copyIn, copyOut, statusIn } from '../../../src/layers/copy/copy.ts'
import { describeTree, temporaryDirectory } from '../../support/trees.ts'

const never = new AbortController().signal

async function tarOf(root: string, path: string, name: string, last: 'follow' | 'itself' = 'itself'): Promise<Buffer> {
  const fd = openRoot(root)
  const pieces: Uint8Array[] = []
  const request = { root: fd, path, last, name, covered: [] }
  for await (const piece of copyOut(request, () => closeSync(fd), never)) pieces.push(piece)
  return Buffer.concat(pieces)
}

async function write(tar: Buffer, root: string, path: string, dir: string) {
  const archive = join(dir, 'archive.tar')
  writeFileSync(archive, tar)
  const fd = openRoot(root)
  const target = { owner: 'as-archived', privileges: 'keep', xattrs: 'all' } as const
  return await copyIn({ root: fd, path, last: 'follow', covered: [], archive, target }, () => closeSync(fd), never)
}

test('a tree that is copied out and in is the same one: owners, modes, times, links, devices, attributes', async () => {
  using at = temporaryDirectory()
  const [from, to] = [join(at.path, 'from'), join(at.path, 'to')]
  mkdirSync(join(from, 'tree/deep'), { recursive: true })
  mkdirSync(to)
  const in_ = (name: string) => join(from, 'tree', name)
  writeFileSync(in_('file'), 'content'.repeat(100_000))
  chmodSync(in_('file'), 0o4711)
  linkSync(in_('file'), in_('deep/again'))
  symlinkSync('../../../../etc/passwd', in_('link'))
  symlinkSync('/nowhere', in_('deep/absolute'))
  writeFileSync(in_('.wh.name'), 'a name like any other')
  writeFileSync(Buffer.from(`${in_('deep')}/\xff\n`, 'latin1'), 'bytes')
  mkfifo(in_('fifo'), 0o640)
  mknodat(AT_FDCWD, in_('null'), S_IFCHR | 0o666, 1, 3)
  setXattr(in_('file'), 'user.note', Buffer.from('kept'))
  lutimesSync(in_('link'), 5, 5)
  utimesSync(in_('deep'), 7, 7)
  utimesSync(in_(''), 9, 9)
  const copied = await write(await tarOf(from, '/tree', 'tree'), to, '/', at.path)
  assert.equal(copied.bytes, 700_000 + 'a name like any other'.length + 'bytes'.length)
  assert.deepEqual(describeTree(join(to, 'tree')), describeTree(join(from, 'tree')))
})

test('a path is resolved with the directory as root, in the tar as well as in the tree', async () => {
  using at = temporaryDirectory()
  const [root, outside] = [join(at.path, 'root'), join(at.path, 'outside')]
  for (const dir of [root, outside, join(root, 'inside')]) mkdirSync(dir)
  writeFileSync(join(outside, 'secret'), 'secret')
  symlinkSync(outside, join(root, 'absolute'))
  symlinkSync('../outside', join(root, 'up'))
  symlinkSync('/inside', join(root, 'in'))
  for (const path of ['/absolute/secret', '/up/secret', '/../outside/secret']) {
    await assert.rejects(tarOf(root, path, 'x'), { code: 'not_found' })
  }
  // Links are told as links, never what they lead to.
  const all = await tarOf(root, '/', '.')
  assert.equal(all.includes('secret'), false)
  const fd = openRoot(root)
  const status = await statusIn({ root: fd, path: '/in', last: 'itself', covered: [] }, () => closeSync(fd), never)
  assert.deepEqual([status.type, status.target], ['symlink', '/inside'])
  // Written through links, it stays within.
  writeFileSync(join(at.path, 'file'), 'new')
  const tar = await tarOf(at.path, '/file', 'in/../in/file')
  await write(tar, root, '/', at.path)
  assert.equal(readFileSync(join(root, 'inside/file'), 'utf8'), 'new')
  await assert.rejects(write(await tarOf(at.path, '/file', 'secret'), root, '/absolute', at.path), {
    code: 'not_found',
  })
  // A directory is not replaced by a file, nor a file by a directory.
  const file = await tarOf(at.path, '/file', 'inside')
  await assert.rejects(write(file, root, '/', at.path), { code: 'failed_precondition' })
  await assert.rejects(write(await tarOf(root, '/inside', 'file'), root, '/inside', at.path), {
    code: 'failed_precondition',
  })
  await assert.rejects(write(Buffer.from('no tar'.repeat(200)), root, '/', at.path), { code: 'invalid_argument' })
})

test('nothing outside is read or written while another thread swaps directories for symlinks', async (t) => {
  using at = temporaryDirectory()
  const [root, outside] = [join(at.path, 'root'), join(at.path, 'outside')]
  for (const dir of ['root/a/b', 'root/a/c', 'outside/b', 'outside/c'])
    mkdirSync(join(at.path, dir), { recursive: true })
  for (const name of ['b/file', 'c/file']) {
    writeFileSync(join(root, 'a', name), 'open')
    writeFileSync(join(outside, name), 'SECRET')
  }
  const before = describeTree(outside)
  writeFileSync(join(at.path, 'file'), 'new')
  const tar = await tarOf(at.path, '/file', 'a/b/file')
  const thread = new Worker(
    `const { parentPort, workerData: { root, outside } } = require('node:worker_threads')
    const { renameSync, symlinkSync, unlinkSync } = require('node:fs')
    let [goesOn, swaps] = [true, 0]
    parentPort.once('message', () => { goesOn = false })
    const attempt = (act) => { try { act() } catch {} }
    const turn = () => {
      for (let i = 0; i < 50; i++) {
        attempt(() => renameSync(root + '/a', root + '/away'))
        attempt(() => symlinkSync(outside, root + '/a'))
        attempt(() => unlinkSync(root + '/a'))
        attempt(() => renameSync(root + '/away', root + '/a'))
        swaps += 1
      }
      if (goesOn) setImmediate(turn)
      else parentPort.postMessage(swaps)
    }
    turn()`,
    { eval: true, workerData: { root, outside } },
  )
  let read = 0
  for (let round = 0; round < 6; round++) {
    const text = await tarOf(root, round % 2 === 0 ? '/a/b/file' : '/', 'x').catch(() => Buffer.alloc(0))
    assert.equal(text.includes('SECRET'), false)
    if (text.includes('open') || text.includes('new')) read += 1
    await write(tar, root, '/', at.path).catch(() => undefined) // What is in the way changes all the time.
  }
  const swaps = once(thread, 'message')
  thread.postMessage('stop')
  t.diagnostic(`${(await swaps)[0]} swaps, ${read} times it was read`)
  await thread.terminate()
  assert.deepEqual(describeTree(outside), before)
  assert.ok(readdirSync(at.path).includes('outside'))
})
