import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pino } from 'pino'
import { command } from '../../../src/commands/command.ts'
import type { CommandEnvelope } from '../../../src/model/command.ts'
import { spontaneous } from '../../../src/model/event.ts'
import { uuidv7 } from '../../../src/model/ids.ts'
import { audit } from '../../../src/projections/audit/audit.ts'
import type { AuditRow, PageBounds } from '../../../src/projections/audit/query.ts'
import { defineProjection } from '../../../src/projections/projection.ts'
import { ProjectionRunner } from '../../../src/projections/runner.ts'
import { SqliteStore } from '../../../src/projections/sqlite-store.ts'
import { startLog } from '../../support/log.ts'

const logger = pino({ level: 'silent' })
const soon = () => AbortSignal.timeout(10_000)

async function startBooks() {
  const dir = await mkdtemp(join(tmpdir(), 'projections-'))
  const books = await startLog()
  return {
    ...books,
    dir,
    /** A command of that type and what became of it. */
    async happen(type: string, subject: string, outcome: 'succeeded' | 'failed' | 'none', uid = 0, parent?: string) {
      const id = uuidv7()
      const actor = `unix:uid=${uid},gid=0,pid=17,exe=/usr/bin/ci`
      const envelope: CommandEnvelope = {
        id,
        type,
        namespace: 'default',
        subject,
        aggregate: type.split('.')[0] ?? '',
        node: 'test',
        actor,
        surface: 'http',
        priority: 100,
        issuedAt: new Date().toISOString(),
        correlationId: parent ?? id,
        ...(parent === undefined ? {} : { parentId: parent }),
        payload: {},
      }
      const cause = { commandId: id, correlationId: envelope.correlationId, actor }
      await books.log.record([command.fact(id, 'command.accepted', { command: envelope })], 'default', cause)
      const error = { code: 'not_found' as const, message: `no ${subject} here, said the registry` }
      if (outcome === 'succeeded')
        await books.log.record(
          [command.fact(id, 'command.succeeded', { result: {}, durationMs: 12.5 })],
          'default',
          cause,
        )
      if (outcome === 'failed')
        await books.log.record([command.fact(id, 'command.failed', { error, durationMs: 3 })], 'default', cause)
      return id
    },
    async [Symbol.asyncDispose]() {
      await books[Symbol.asyncDispose]()
      await rm(dir, { recursive: true })
    },
  }
}

test('the trail says who did what with which outcome, by each filter and by words', async () => {
  await using books = await startBooks()
  const run = await books.happen('container.run', 'web', 'succeeded', 1000)
  const pull = await books.happen('image.pull', 'registry.example/app:1', 'failed', 1000, run)
  const kill = await books.happen('task.kill', 'db', 'none')
  const runner = await ProjectionRunner.start(audit, books.log, books.dir, logger)
  await runner.reaches(books.log.head, soon())
  const commandsOf = (filter: object) =>
    runner.store.page({ order: 'oldest', limit: 100, ...filter }).items.map((row) => row.command)
  assert.deepEqual(commandsOf({}), [run, pull, kill])
  assert.deepEqual(commandsOf({ order: 'newest' }), [kill, pull, run])
  for (const [filter, expected] of [
    [{ subject: 'container/web' }, [run]],
    [{ subject: '*/web' }, [run]],
    [{ action: 'image.*' }, [pull]],
    [{ uid: 1000 }, [run, pull]],
    [{ uid: 1000, action: 'container.run' }, [run]],
    [{ executable: '/usr/bin/ci', surface: 'http' }, [run, pull, kill]],
    [{ pid: 17, uid: 0 }, [kill]],
    [{ pid: 18 }, []],
    [{ outcome: 'failed' }, [pull]],
    [{ outcome: 'accepted' }, [kill]],
    [{ code: 'not_found' }, [pull]],
    [{ correlation: run }, [run, pull]],
    [{ slowerThanMs: 10 }, [run]],
    [{ text: 'registry.example' }, [pull]],
    [{ text: 'regis* said' }, [pull]],
    [{ text: 'nowhere' }, []],
    [{ namespace: 'other' }, []],
    [{ after: 1 }, [pull, kill]],
  ] as const)
    assert.deepEqual(commandsOf(filter), expected, JSON.stringify(filter))
  const [row] = runner.store.page({ order: 'oldest', limit: 1, action: 'image.pull' }).items
  assert.deepEqual(
    { ...row, time: '', ended: '' },
    {
      position: 3,
      time: '',
      ended: '',
      namespace: 'default',
      actor: 'unix:uid=1000,gid=0,pid=17,exe=/usr/bin/ci',
      uid: 1000,
      pid: 17,
      executable: '/usr/bin/ci',
      surface: 'http',
      action: 'image.pull',
      subject: 'image/registry.example/app:1',
      command: pull,
      parent: run,
      correlation: run,
      outcome: 'failed',
      code: 'not_found',
      message: 'no registry.example/app:1 here, said the registry',
      durationMs: 3,
    },
  )
  await runner.stop()
})

test('whichever filters are put together, in either order, the rows are those that meet all of them', async () => {
  await using books = await startBooks()
  const types = ['container.run', 'container.stop', 'image.pull', 'task.kill']
  const outcomes = ['succeeded', 'failed', 'none'] as const
  for (let index = 0; index < 60; index++) {
    const outcome = outcomes[index % 3] ?? 'none'
    await books.happen(types[index % 4] ?? '', `c${index % 7}`, outcome, index % 5)
  }
  const runner = await ProjectionRunner.start(audit, books.log, books.dir, logger)
  await runner.reaches(books.log.head, soon())
  const all = runner.store.page({ order: 'oldest', limit: 1000 }).items
  assert.equal(all.length, 60)
  const choices = {
    action: [undefined, 'container.run', 'container.*', '*', '*.none', 't?sk.[k]ill'],
    outcome: [undefined, 'failed', '*ed'],
    code: [undefined, 'not_*'],
    subject: [undefined, '*/c3', 'container/*'],
    uid: [undefined, 3],
    slowerThanMs: [undefined, 5],
  }
  const holds = (row: AuditRow, name: string, wanted: string | number): boolean => {
    if (name === 'slowerThanMs') return (row.durationMs ?? 0) >= Number(wanted)
    const value = String(row[name as keyof AuditRow] ?? '')
    return typeof wanted === 'number' ? value === String(wanted) : globOf(wanted).test(value)
  }
  const combinations = Object.entries(choices).reduce<Record<string, string | number | undefined>[]>(
    (before, [name, values]) => before.flatMap((each) => values.map((value) => ({ ...each, [name]: value }))),
    [{}],
  )
  for (const filter of combinations) {
    const given = Object.entries(filter).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, value] as const],
    )
    const expected = all.filter((row) => given.every(([name, wanted]) => holds(row, name, wanted)))
    const { items: oldest } = runner.store.page({ order: 'oldest', limit: 1000, ...filter })
    assert.deepEqual(oldest, expected, JSON.stringify(filter))
    const newest = runner.store.page({ order: 'newest', limit: 3, ...filter })
    assert.deepEqual(newest.items, expected.toReversed().slice(0, 3), JSON.stringify(filter))
    assert.equal(newest.next !== undefined, expected.length > 3)
  }
  await runner.stop()
})

/** As the trail's globs are: `*` and `?` alone have a meaning. */
const globOf = (glob: string): RegExp =>
  new RegExp(`^${RegExp.escape(glob).replaceAll('\\*', '.*').replaceAll('\\?', '.')}$`)

test('a page that would take too long ends early, and pages lead to all rows that there are', async () => {
  await using books = await startBooks()
  for (let each = 0; each < 60; each++)
    await books.happen(
      each % 3 === 0 ? 'container.run' : 'task.kill',
      `c${each % 7}`,
      each % 2 === 0 ? 'succeeded' : 'failed',
      each % 5,
    )
  const runner = await ProjectionRunner.start(audit, books.log, books.dir, logger)
  await runner.reaches(books.log.head, soon())
  const all = runner.store.page({ order: 'oldest', limit: 100 }).items
  assert.equal(all.length, 60)
  const walk = (filter: object, order: 'newest' | 'oldest', bounds?: PageBounds) => {
    const seen: number[] = []
    let cursor: string | undefined
    for (let pages = 0; ; pages++) {
      assert.ok(pages < 200, 'pages lead on')
      const page = runner.store.page({ order, limit: 7, cursor, ...filter }, bounds)
      assert.ok(page.items.length <= 7)
      seen.push(...page.items.map(({ position }) => position))
      cursor = page.next
      if (cursor === undefined) return seen
    }
  }
  const holds: [object, (row: (typeof all)[number]) => boolean][] = [
    [{}, () => true],
    [{ subject: '*/c3' }, ({ subject }) => /\/c3$/.test(subject)],
    [{ subject: '*c3' }, ({ subject }) => /c3$/.test(subject)],
    [{ subject: 'task/c?' }, ({ subject }) => /^task\//.test(subject)],
    [{ subject: 'task/c?', outcome: 'failed' }, (row) => /^task\//.test(row.subject) && row.outcome === 'failed'],
    [{ actor: '*uid=3*', action: '*.kill' }, (row) => row.uid === 3 && row.action === 'task.kill'],
    [{ uid: 2, code: 'not_found' }, (row) => row.uid === 2 && row.code === 'not_found'],
    [{ text: 'registry' }, ({ message }) => /registry/.test(message ?? '')],
    [{ text: 'c3 said', uid: 4 }, (row) => row.uid === 4 && /c3/.test(row.subject) && row.outcome === 'failed'],
    [{ text: 'task', outcome: 'succeeded' }, (row) => /^task/.test(row.subject) && row.outcome === 'succeeded'],
    [{ pid: 17, slowerThanMs: 10 }, ({ durationMs = 0 }) => durationMs >= 10],
    [
      { action: 'task.*', after: 20, through: 77 },
      (row) => row.action === 'task.kill' && row.position > 20 && row.position <= 77,
    ],
  ]
  for (const [filter, expected] of holds) {
    const positions = all.filter(expected).map(({ position }) => position)
    for (const bounds of [undefined, { ms: 0, positions: 2 }]) {
      assert.deepEqual(walk(filter, 'oldest', bounds), positions, JSON.stringify(filter))
      assert.deepEqual(walk(filter, 'newest', bounds), positions.toReversed(), JSON.stringify(filter))
    }
  }
  await runner.stop()
})

test('pages follow each other without a gap while rows are added', async () => {
  await using books = await startBooks()
  const ids: string[] = []
  for (let each = 0; each < 25; each++) ids.push(await books.happen('container.run', `c${each}`, 'succeeded'))
  const runner = await ProjectionRunner.start(audit, books.log, books.dir, logger)
  await runner.reaches(books.log.head, soon())
  const seen: (string | undefined)[] = []
  let cursor: string | undefined
  do {
    const page = runner.store.page({ order: 'newest', limit: 10, cursor, action: 'container.run' })
    seen.push(...page.items.map((row) => row.command))
    cursor = page.next
    await books.happen('container.run', 'later', 'succeeded')
    await runner.reaches(books.log.head, soon())
  } while (cursor !== undefined)
  assert.deepEqual(seen, ids.toReversed())
  await runner.stop()
})

test('a projection goes on after a restart where it was, and a rebuild gives the same', async () => {
  await using books = await startBooks()
  await books.happen('container.run', 'a', 'succeeded')
  const first = await ProjectionRunner.start(audit, books.log, books.dir, logger)
  await first.reaches(books.log.head, soon())
  await first.stop()
  await books.happen('container.run', 'b', 'failed')
  const second = await ProjectionRunner.start(audit, books.log, books.dir, logger)
  assert.equal(second.status.checkpoint, 2)
  await second.reaches(books.log.head, soon())
  const before = second.store.page({ order: 'oldest', limit: 10 })
  assert.equal(before.items.length, 2)
  await Promise.all([second.rebuild(), books.happen('container.run', 'c', 'succeeded')])
  await second.reaches(books.log.head, soon())
  assert.deepEqual(second.store.page({ order: 'oldest', limit: 10, through: 4 }), before)
  assert.equal(second.store.page({ order: 'oldest', limit: 10 }).items.length, 3)
  await second.stop()
})

test('a projection that cannot fold an event stops there, says so, and harms no other', async () => {
  await using books = await startBooks()
  const stumbling = defineProjection({
    name: 'stumbling',
    schema: 1,
    open: async (dir) =>
      new SqliteStore(dir, 'CREATE TABLE IF NOT EXISTS seen (position INTEGER)', (db) => {
        const insert = db.prepare('INSERT INTO seen VALUES (?)')
        return (event) => {
          if (event.position === 3) throw new Error('what is this?')
          insert.run(event.position)
        }
      }),
  })
  const bad = await ProjectionRunner.start(stumbling, books.log, books.dir, logger)
  const good = await ProjectionRunner.start(audit, books.log, books.dir, logger)
  await books.happen('container.run', 'a', 'succeeded')
  await bad.reaches(2, soon())
  await books.happen('container.run', 'b', 'succeeded')
  await good.reaches(books.log.head, soon())
  await assert.rejects(bad.reaches(4, soon()), /stopped at event 3: what is this\?/)
  assert.equal(bad.status.status, 'stopped')
  assert.deepEqual(bad.status.failure, { position: 3, message: 'what is this?' })
  assert.equal(bad.store.checkpoint, 2)
  assert.equal(good.status.lag, 0)
  await bad.stop()
  await good.stop()
})

test('what happened on the host by itself is in the trail', async () => {
  await using books = await startBooks()
  const exited = {
    aggregate: 'task',
    id: 'c1',
    type: 'task.exited',
    data: { exitCode: 137, exitedAt: new Date().toISOString(), reason: 'lost: its shim died', oomKills: 0 },
  }
  await books.log.record([exited], 'default', spontaneous('tasks'))
  const runner = await ProjectionRunner.start(audit, books.log, books.dir, logger)
  await runner.reaches(books.log.head, soon())
  const [row] = runner.store.page({ order: 'oldest', limit: 10, text: 'shim' }).items
  assert.equal(row?.message, 'exit code 137: lost: its shim died')
  assert.equal(row?.outcome, 'happened')
  await runner.stop()
})
