import assert from 'node:assert/strict'
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { giveBackStreams, makeHeldStreams, takeHeldStreams } from '../../../src/shim/held-streams.ts'
import { stdioDir } from '../../../src/shim/stdio.ts'
import { temporaryDirectory } from '../../support/trees.ts'

function bundleIn(dir: string, name: string): string {
  const bundle = join(dir, name)
  mkdirSync(bundle)
  return bundle
}

const NON_BLOCKING = constants.O_NONBLOCK

test('tasks of a sandbox take the streams that its shim holds, one pair each, and give them back empty', () => {
  using own = temporaryDirectory()
  const sandbox = bundleIn(own.path, 'pod')
  const held = makeHeldStreams(sandbox)
  const bundles = Array.from({ length: 9 }, (_, index) => bundleIn(own.path, `c${index}`))
  for (const bundle of bundles) takeHeldStreams(sandbox, bundle)
  assert.deepEqual(
    bundles.map((bundle) => existsSync(stdioDir(bundle))),
    [...Array(8).fill(true), false],
  )
  const [first = '', ninth = ''] = [bundles[0], bundles[8]]
  const writer = openSync(join(stdioDir(first), 'stdout'), constants.O_WRONLY | NON_BLOCKING)
  writeSync(writer, 'last words')
  closeSync(writer) // Nobody has read them, and they are there all the same: the shim holds the other end.
  writeFileSync(join(stdioDir(first), 'stdout.spool'), 'what was taken')
  giveBackStreams(first)
  giveBackStreams(ninth)
  takeHeldStreams(sandbox, ninth)
  assert.deepEqual(readdirSync(stdioDir(ninth)).sort(), ['stderr', 'stdout'])
  const reader = openSync(join(stdioDir(ninth), 'stdout'), constants.O_RDONLY | NON_BLOCKING)
  assert.equal(readSync(reader, Buffer.alloc(64)), 0)
  for (const fd of [reader, ...held]) closeSync(fd)
})

test('streams of a sandbox that is gone, or was made anew, go with their task', () => {
  using own = temporaryDirectory()
  const sandbox = bundleIn(own.path, 'pod')
  const bundles = [bundleIn(own.path, 'c0'), bundleIn(own.path, 'c1')]
  for (const fd of makeHeldStreams(sandbox)) closeSync(fd)
  for (const bundle of bundles) takeHeldStreams(sandbox, bundle)
  rmSync(sandbox, { recursive: true })
  for (const bundle of bundles.slice(0, 1)) giveBackStreams(bundle)
  mkdirSync(sandbox)
  for (const fd of makeHeldStreams(sandbox)) closeSync(fd)
  for (const bundle of bundles) giveBackStreams(bundle)
  assert.equal(readdirSync(join(sandbox, 'streams')).length, 8)
})
