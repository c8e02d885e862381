import assert from 'node:assert/strict'
import { existsSync, readdirSync, symlinkSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { probeCrun } from '../../../src/shim/probe-crun.ts'
import { isHybrid } from '../../../src/shim/runtime-namespace.ts'
import { SEARCH_PATH } from '../../support/shims.ts'

async function probe(binary: string) {
  const parent = await mkdtemp(join(tmpdir(), 'probe-'))
  const dir = join(parent, 'crun')
  if (binary.includes('/')) symlinkSync(binary, join(parent, 'crun-link'))
  const cgroupsPath = `/purser-test-probe-${process.pid}`
  try {
    const options = { binary, searchPath: SEARCH_PATH, dir, cgroupsPath }
    const found = await probeCrun(options, AbortSignal.timeout(20_000))
    assert.ok(!existsSync(dir))
    for (const controller of readdirSync('/sys/fs/cgroup'))
      assert.ok(!existsSync(join('/sys/fs/cgroup', controller, cgroupsPath)), controller)
    return found
  } finally {
    await rm(parent, { recursive: true, force: true })
  }
}

test('crun is tried, where cgroups are hybrid in a mount namespace without the second hierarchy; nothing is left', async () => {
  const found = await probe('crun')
  assert.ok(found.works, JSON.stringify(found))
  assert.equal(found.isApart, isHybrid())
})

test('a crun that is not there, or does not work, is told with the reason', async () => {
  const absent = await probe('crun-that-is-not-there')
  assert.ok(!absent.works)
  assert.match(absent.why, /crun-that-is-not-there, which is not in/)
  const broken = await probe('/bin/false')
  assert.ok(!broken.works)
  assert.match(broken.why, /crun does not work here/)
})
