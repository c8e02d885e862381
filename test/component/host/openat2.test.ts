import assert from 'node:assert/strict'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { openInRoot } from '../../../src/host/open-in-root.ts'
import { errnoOf, flock, O, openat2, RESOLVE } from '../../../src/host/syscalls.ts'
import { temporaryDirectory } from '../../support/trees.ts'

const OPENED = 20_000
const RENAMER = `
const { renameSync } = require('node:fs')
const { parentPort, workerData } = require('node:worker_threads')
parentPort.postMessage('begun')
for (;;) {
  renameSync(workerData + '/there', workerData + '/here')
  renameSync(workerData + '/here', workerData + '/there')
}`

test('a path with dots is resolved while somebody on the host renames directories all the time', async () => {
  using directory = temporaryDirectory()
  for (const name of ['root/a', 'root/b', 'elsewhere/there']) mkdirSync(join(directory.path, name), { recursive: true })
  const renamer = new Worker(RENAMER, { eval: true, workerData: join(directory.path, 'elsewhere') })
  const root = openSync(join(directory.path, 'root'), 'r')
  try {
    await new Promise((resolve) => renamer.once('message', resolve))
    for (let opened = 0; opened < OPENED; opened++) {
      closeSync(openat2(root, 'a/../b', O.PATH, RESOLVE.BENEATH))
      closeSync(openInRoot(root, 'a/../b', 'follow'))
    }
  } finally {
    closeSync(root)
    await renamer.terminate()
  }
})

test('an error number with two names has the one that Node gives it', () => {
  using directory = temporaryDirectory()
  const [first, second] = [openSync(directory.path, 'r'), openSync(directory.path, 'r')]
  try {
    flock(first)
    assert.throws(
      () => flock(second),
      (error) => errnoOf(error) === 'EAGAIN',
    )
  } finally {
    closeSync(first)
    closeSync(second)
  }
})
