import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { task } from '../../../src/commands/task.ts'
import { spontaneous } from '../../../src/model/event.ts'
import { ProjectionRunner } from '../../../src/projections/runner.ts'
import { sloSchema } from '../../../src/projections/sli/objectives.ts'
import { Observations } from '../../../src/projections/sli/observations.ts'
import { sli } from '../../../src/projections/sli/sli.ts'
import { Slis } from '../../../src/projections/sli/slis.ts'
import { startLog } from '../../support/log.ts'

const logger = pino({ level: 'silent' })
const soon = () => AbortSignal.timeout(10_000)

test('indicators are kept over a restart, are the same after a rebuild, and take every event that there ever was', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'sli-'))
  try {
    await using books = await startLog()
    const exits = async (id: string, exitCode: number) => {
      const fact = task.fact(id, 'task.exited', { exitCode, exitedAt: new Date().toISOString(), oomKills: 1 })
      await books.log.record([fact], 'default', {
        ...spontaneous('test'),
        traceparent: `00-${'ab'.repeat(16)}-${'cd'.repeat(8)}-01`,
      })
    }
    await exits('one', 0)
    let runner = await ProjectionRunner.start(sli, books.log, dir, logger)
    await runner.reaches(books.log.head, soon())
    await runner.stop()
    await exits('two', 1)
    runner = await ProjectionRunner.start(sli, books.log, dir, logger)
    await runner.reaches(books.log.head, soon())
    const counted = [...runner.store.buckets.total()]
    assert.deepEqual(
      counted.map(([series, { count }]) => [series, count]),
      [
        ['exits clean', 1],
        ['exits crashed', 1],
        ['ooms', 2],
      ],
    )
    const observations = new Observations(join(dir, 'observed'), new Registry(), dir)
    const slo = sloSchema.parse(undefined)
    const shown = async (isCurrent: boolean) =>
      await new Slis({ store: runner.store, isCurrent }, observations, slo).metrics({ exemplars: true })
    assert.equal(runner.isCurrent, true)
    assert.match(await shown(true), /^purser_task_exits_total\{outcome="crashed"\} 1$/m)
    // What is folded anew begins at 0: a scraper would take all that ever happened for news.
    assert.doesNotMatch(await shown(false), /purser_task_exits_total|sli="crashes"/)
    assert.match(await shown(false), /^purser_sli_events_total\{sli="api_errors"\} 0$/m)
    await observations[Symbol.asyncDispose]()
    await runner.rebuild()
    assert.deepEqual([...runner.store.buckets.total()], counted)
    // An event of each version of each type.
    const lines = readFileSync('test/histories/events.ndjson', 'utf8').trim().split('\n')
    const events = lines.map((line, index) => ({ ...JSON.parse(line).event, position: books.log.head + index + 1 }))
    runner.store.fold(events, runner.store.checkpoint)
    await runner.stop()
  } finally {
    await rm(dir, { recursive: true })
  }
})
