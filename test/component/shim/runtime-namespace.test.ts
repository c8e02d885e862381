import assert from 'node:assert/strict'
import { copyFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { runProgram } from '../../../src/shim/run-program.ts'
import { isHybrid, makeRuntimeNamespace } from '../../../src/shim/runtime-namespace.ts'

const skip = isHybrid() ? false : 'no runtime needs a namespace where cgroups are not hybrid'

test('in the namespace of a runtime its program cannot be written to, outside it can', { skip }, async () => {
  const dir = await mkdtemp(join(tmpdir(), 'pt-namespace-'))
  await using _ = { [Symbol.asyncDispose]: () => rm(dir, { recursive: true }) }
  const program = join(dir, 'runtime')
  copyFileSync('/bin/true', program)
  const signal = AbortSignal.timeout(20_000)
  using namespace = await makeRuntimeNamespace([program], signal)
  const enter = namespace.enter('/')
  assert.ok(enter)
  const touch = async (prefix: readonly string[]) => {
    const [file = '', ...args] = [...prefix, '/bin/touch', program]
    return await runProgram({ file, args, cwd: '/', env: {} }, signal)
  }
  assert.match((await touch(enter)).stderr, /Read-only file system/)
  assert.deepEqual(await touch([]), { exitCode: 0, stdout: Buffer.alloc(0), stderr: '' })
})
