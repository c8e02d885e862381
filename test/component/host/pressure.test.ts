import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import { cgroupPressure, hostPressure } from '../../../src/host/pressure.ts'

test('what the kernel tells of pressure is read, of the host and of a cgroup of version 2', (t) => {
  if (!existsSync('/proc/pressure/cpu')) return t.skip('this kernel has no pressure stall information')
  for (const resource of ['cpu', 'memory', 'io'] as const) {
    const { some } = hostPressure()?.[resource] ?? {}
    assert.ok(some && some.totalUs > 0 && some.avg10 >= 0 && some.avg10 <= 100, resource)
  }
  const root = cgroupPressure('/')
  if (root !== undefined) assert.ok((root.cpu?.some.totalUs ?? 0) > 0)
  assert.equal(cgroupPressure('/no/such/cgroup'), undefined)
})
