import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { expectMigration } from '../../../src/host/cgroup-migration.ts'

test('a move that is announced leaves this process in the cgroups that it is in', async () => {
  const before = readFileSync('/proc/self/cgroup', 'utf8')
  for (let round = 0; round < 20; round++) {
    expectMigration()
    await delay(2)
  }
  assert.equal(readFileSync('/proc/self/cgroup', 'utf8'), before)
})
