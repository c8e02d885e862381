import assert from 'node:assert/strict'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { checkpointSupport } from '../../../src/shim/checkpoint-support.ts'
import { ProgramFacts } from '../../../src/shim/program-facts.ts'
import { temporaryDirectory } from '../../support/trees.ts'

const own = temporaryDirectory()
after(() => own[Symbol.dispose]())

/** A program that says something for each of its first arguments. */
function program(name: string, says: Readonly<Record<string, string>>, criuCheck = 'exit 0'): string {
  const path = join(own.path, name)
  const cases = Object.entries(says).map(([word, text]) => `${word}) echo '${text}';;`)
  writeFileSync(path, `#!/bin/sh\ncase $1 in ${cases.join(' ')} check) ${criuCheck};; *) exit 1;; esac\n`)
  chmodSync(path, 0o755)
  return path
}

const CHECKPOINTS = '{"annotations":{"org.opencontainers.runc.checkpoint.enabled":"true"}}'
const runc = program('runc', { '--version': 'runc version 1.1.5', features: CHECKPOINTS })
const criu = program('criu-4', { '--version': 'Version: 4.2' })

function support(runcFile: string | undefined, criuPath?: string) {
  const options = criuPath === undefined ? {} : { criuPath }
  const runtime = { shimFile: '/bin/containerd-shim-x-v1', runcFile, options, isApart: false, callMs: 1000 }
  return checkpointSupport('r', runtime, new ProgramFacts(own.path), own.path)
}

test('they work where the runtime has them, and its CRIU knows the kernel', async () => {
  const works = { works: true, criu, version: '4.2' }
  assert.deepEqual(await support(runc, criu), works)
  const old = program('old-runc', { '--version': 'runc version 1.0.3' })
  assert.deepEqual(await support(old, criu), works, 'a runc that cannot tell')
  const crun = program('crun', { '--version': 'crun version 1.14\n+SYSTEMD +CRIU +YAJL' })
  assert.deepEqual(await support(crun, criu), works)
})

const OBSTACLES: readonly (readonly [string, string | undefined, string | undefined, RegExp])[] = [
  ['runtime', undefined, criu, /runtime r runs its tasks by containerd-shim-x-v1, which is not known to/],
  ['runtime', program('bare-runc', { '--version': 'runc version 1.3.0', features: '{}' }), criu, /built without CRIU/],
  ['runtime', program('bare-crun', { '--version': 'crun version 1.8\n+CAP +CRIUX' }), criu, /built without CRIU/],
  ['criu', runc, '/nowhere/criu', /needs \/nowhere\/criu, which is not there/],
  ['criu', runc, undefined, /needs criu, which is not in/],
  ['criu', runc, program('no-criu', { '--version': 'hello' }), /does not tell its version/],
  [
    'kernel',
    runc,
    program('criu-3', { '--version': 'Version: 3.17.1' }, 'echo "Error (criu/vdso.c:1): vdso: Odd" >&2; exit 1'),
    /CRIU 3\.17\.1 does not work on this kernel: vdso: Odd/,
  ],
  ['kernel', runc, program('mute', { '--version': 'Version: 4.0' }, 'exit 3'), /criu check ended with 3/],
]

for (const [obstacle, runcFile, criuPath, reason] of OBSTACLES) {
  test(`where they do not it is told that it is the ${obstacle}, and the remedy (${reason.source})`, async () => {
    const found = await support(runcFile, criuPath)
    assert.ok(!found.works)
    assert.equal(found.obstacle, obstacle)
    assert.match(found.reason, reason)
    assert.notEqual(found.remedy, '')
  })
}
