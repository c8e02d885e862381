import assert from 'node:assert/strict'
import { test } from 'node:test'
import { storyOf } from '../../../src/cli/terminal/story.ts'
import type { StoredEvent } from '../../../src/client/index.ts'

const ACTOR = 'unix:uid=1000,gid=1000,pid=17,exe=/usr/bin/ci'

/** So many milliseconds after the first. */
function event(afterMs: number, type: string, subject: string, data: object, commandid = ''): StoredEvent {
  return {
    specversion: '1.0',
    id: '01890000-0000-7000-8000-000000000000',
    source: '/nodes/test',
    type,
    subject,
    time: new Date(Date.UTC(2026, 0, 1) + afterMs).toISOString(),
    namespace: 'default',
    aggregate: subject.split('/')[0] ?? '',
    commandid,
    correlationid: 'run',
    actor: ACTOR,
    schema: 1,
    data: { ...data },
    position: 1,
  }
}

const accepted = (afterMs: number, id: string, type: string, parentId?: string) =>
  event(afterMs, 'command.accepted', `command/${id}`, { command: { id, type, subject: 'c1', parentId } }, id)

test('steps stand below what they are steps of, with who asked, how long it took and why it failed', () => {
  const story = storyOf([
    accepted(0, 'run', 'container.run'),
    event(1, 'command.started', 'command/run', { attempt: 1, worker: 'saga' }, 'run'),
    accepted(2, 'create', 'task.create', 'run'),
    event(3, 'command.started', 'command/create', { attempt: 2, worker: 'task' }, 'create'),
    event(4, 'task.creating', 'task/c1', { runtime: 'runc' }, 'create'),
    event(5, 'command.failed', 'command/create', { durationMs: 2, error: { message: 'no such program' } }, 'create'),
    event(20_000, 'command.failed', 'command/run', { durationMs: 7, error: { message: 'no such program' } }, 'run'),
    event(3_600_000, 'task.exited', 'task/c1', { exitCode: 3 }),
  ])
  assert.deepEqual(
    [...story],
    [
      '2026-01-01T00:00:00.000Z',
      '       +0 ms  container.run c1  by uid 1000, ci 17',
      '       +2 ms    task.create c1',
      '       +3 ms    task.create: attempt 2',
      '       +4 ms      task.creating  task/c1  runtime=runc',
      '       +5 ms    task.create failed after 2 ms: no such program',
      '       +20 s  container.run failed after 7 ms: no such program',
      '     +60 min  task.exited  task/c1  exitCode=3',
    ],
  )
})
