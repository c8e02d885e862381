import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pathOfSlice } from '../../../src/oci/spec/cgroup-parent.ts'
import { CgroupLayout } from '../../../src/workers/task/cgroup-layout.ts'

test('each task has a cgroup of its own, below its namespace or the parent that is asked for', () => {
  const usual = new CgroupLayout('/run/purser')
  assert.equal(usual.path('ns', 'c1'), '/purser/ns/c1')
  assert.equal(usual.inSpec('ns', 'c1'), '/purser/ns/c1')
  assert.deepEqual(usual.parents('ns'), ['/purser/ns', '/purser'])
  assert.match(new CgroupLayout('/tmp/x').path('ns', 'c1'), /^\/purser-[0-9a-f]{8}\/ns\/c1$/)
  const configured = new CgroupLayout('/run/purser', { driver: 'cgroupfs', parent: '/ci' })
  assert.equal(configured.path('ns', 'c1'), '/ci/ns/c1')
  assert.deepEqual(configured.parents('ns'), ['/ci/ns'])
  const asked = new CgroupLayout('/run/purser', { driver: 'cgroupfs' }, (_, id) => (id === 'c1' ? '/jobs' : undefined))
  assert.equal(asked.path('ns', 'c1'), '/jobs/ns--c1')
  assert.equal(asked.path('ns', 'c2'), '/purser/ns/c2')
})

test("with systemd it is a scope in a slice, whose slices are each other's parents", () => {
  const usual = new CgroupLayout('/run/purser', { driver: 'systemd' })
  assert.equal(usual.inSpec('ns', 'c1'), 'system.slice:purser:ns--c1')
  assert.equal(usual.path('ns', 'c1'), '/system.slice/purser-ns--c1.scope')
  assert.deepEqual(usual.parents('ns'), [])
  const asked = new CgroupLayout('/run/purser', { driver: 'systemd' }, () => 'ci-jobs.slice')
  assert.equal(asked.path('ns', 'c1'), '/ci.slice/ci-jobs.slice/purser-ns--c1.scope')
  assert.equal(pathOfSlice('-.slice'), '')
})

test('a parent of the other kind is refused', () => {
  for (const [driver, parent] of [
    ['cgroupfs', 'ci.slice'],
    ['systemd', '/ci'],
  ] as const) {
    assert.throws(() => new CgroupLayout('/run/purser', { driver, parent }), { code: 'invalid_argument' })
    assert.throws(() => new CgroupLayout('/run/purser', { driver }).require(parent, 'x'), /no parent for a cgroup/)
  }
})
