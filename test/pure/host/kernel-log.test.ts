import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseOomKill } from '../../../src/host/kernel-log.ts'

test('the line of the kernel’s log that tells of a victim is told from others, whatever its name holds', () => {
  const line = (task: string) =>
    `6,1042,3379396,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/purser/ns/c1,task_memcg=/purser/ns/c1/sub,task=${task},pid=22982,uid=0`
  assert.deepEqual(parseOomKill(line('sh')), { cgroup: '/purser/ns/c1', victim: { pid: 22982, name: 'sh' } })
  assert.equal(parseOomKill(line('a,pid=1,b'))?.victim.name, 'a,pid=1,b')
  for (const other of [
    '6,1043,3379397,-;Memory cgroup out of memory: Killed process 22982 (sh) total-vm:26852kB',
    '6,1,1,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/a,task=b,pid=7,uid=0',
    '',
  ])
    assert.equal(parseOomKill(other), undefined)
})
