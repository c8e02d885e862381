import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { z } from 'zod'
import { problemSchema } from '../../../src/api/http/problem.ts'
import { PurserClient } from '../../../src/client/index.ts'
import { namespace } from '../../../src/commands/namespace.ts'
import type { Fact } from '../../../src/model/aggregate.ts'
import { type Api, open, positions, silentClient, startApi } from '../../support/http.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = z.function().parse(runInNewContext('gc'))

const MIB = 1024 * 1024
const FAT = 'x'.repeat(2000)

const created = (id: string): Fact => namespace.fact(id, 'namespace.created', { labels: { fat: FAT } })

/** Events about a few subjects, of some kilobytes each. @returns the milliseconds that each append took */
async function append(api: Api, events: number): Promise<number[]> {
  const times: number[] = []
  for (let done = 0; done < events; done += 10) {
    const begunAt = performance.now()
    await api.facts(Array.from({ length: 10 }, (_, index) => created(`n${index}`)))
    times.push(performance.now() - begunAt)
  }
  return times
}

/** Waits for a metric to be as it should. */
async function until(api: Api, name: string, holds: (value: number) => boolean): Promise<void> {
  const deadline = Date.now() + 20_000
  while (!holds(await api.metric(name))) {
    assert.ok(Date.now() < deadline, `${name} is ${await api.metric(name)}`)
    await setImmediate()
  }
}

const CUT_OFF = 'purser_api_streams_cut_off_total'
const OPEN = 'purser_api_streams_open'

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] ?? 0

function usedBytes(): number {
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** Chunks of a body whose connection was closed at its end. @see RFC 9112 section 7.1 */
const bodyOf = (raw: string): string =>
  raw
    .slice(raw.indexOf('\r\n\r\n') + 4)
    .split(/[0-9a-f]+\r\n/)
    .join('')
    .replaceAll('\r\n', '')

describe('clients that do not read what they asked for', () => {
  let api: Api
  before(async () => {
    api = await startApi({ stalledMs: 700 })
    await append(api, 10_000) // What the log itself keeps in memory is there now.
  })
  after(() => api[Symbol.asyncDispose]())

  test('they cost no more memory than a buffer each', async (t) => {
    await using patient = await startApi({ stalledMs: 600_000 })
    await append(patient, 10_000)
    const timesAlone = await append(patient, 5000)
    const before = usedBytes()
    const clients: Socket[] = []
    for (let index = 0; index < 20; index++) {
      clients.push(
        await silentClient(patient.socketPath, `/v1/events?follow&since=${index < 10 ? 0 : patient.log.head}`),
      )
    }
    const times = await append(patient, 5000)
    const growth = usedBytes() - before
    t.diagnostic(`${(growth / MIB).toFixed(1)} MiB for 20 clients, each 12 to 50 MiB behind`)
    t.diagnostic(`an append: ${median(timesAlone).toFixed(2)} ms alone, ${median(times).toFixed(2)} ms with them`)
    // Together they are some 600 MiB behind.
    assert.ok(growth < 200 * MIB, `${growth} bytes`)
    for (const client of clients) client.destroy()
  })

  test('one is cut off with an error that names the position to resume from, and misses nothing by it', async () => {
    const since = api.log.head
    const client = await silentClient(api.socketPath, `/v1/events?follow&since=${since}`)
    const before = await api.metric(CUT_OFF)
    await append(api, 3000)
    // It reads on as soon as the server has given it up, and before the server closes the connection.
    await until(api, CUT_OFF, (count) => count === before + 1)
    client.resume()
    const body = bodyOf(await text(client))
    const events = body.split('\n\n').filter((each) => each !== '')
    const last = events.at(-1) ?? ''
    const [, id = '', data = ''] = /^id: (\d+)\nevent: error\ndata: (.*)$/.exec(last) ?? []
    const problem = problemSchema.parse(JSON.parse(data))
    assert.equal(problem.code, 'aborted')
    assert.match(problem.detail, /did not take what was sent to it within 0\.7 s/)
    assert.equal(problem.position, Number(id))
    const seen = events.slice(0, -1).map((each) => Number(/^id: (\d+)/.exec(each)?.[1]))
    assert.deepEqual(
      seen,
      Array.from({ length: seen.length }, (_, index) => since + index),
    )
    assert.equal(seen.at(-1), problem.position)
    assert.ok(problem.position < api.log.head)
    const resumed = await open(api.socketPath, '/v1/events?follow', { 'last-event-id': id })
    const rest = await positions(resumed, api.log.head - problem.position)
    assert.equal(rest[0], problem.position + 1)
    assert.equal(rest.at(-1), api.log.head)
  })

  test('one that never reads has its connection closed', async () => {
    await until(api, OPEN, (count) => count === 0)
    const client = await silentClient(api.socketPath, '/v1/events?follow&since=0')
    await until(api, OPEN, (count) => count === 1)
    await until(api, OPEN, (count) => count === 0)
    client.destroy()
  })

  test('one that retention overtakes is told so, and where to go on', async () => {
    await using kept = await startApi()
    await append(kept, 12_000)
    const client = await silentClient(kept.socketPath, '/v1/events?follow&since=0')
    await until(kept, OPEN, (count) => count === 1)
    assert.equal((await kept.http('POST', '/v1/log/seal')).status, 200)
    await append(kept, 10)
    assert.equal((await kept.http('POST', '/v1/log/seal')).status, 200)
    const [{ last: dropped } = { last: 0 }] = await kept.books.archive.drop(12_500)
    client.resume()
    const events = bodyOf(await text(client))
      .split('\n\n')
      .filter((each) => each !== '')
    const [, id, data = ''] = /^id: (\d+)\nevent: error\ndata: (.*)$/.exec(events.at(-1) ?? '') ?? []
    const problem = problemSchema.parse(JSON.parse(data))
    assert.equal(problem.code, 'out_of_range')
    const seen = Number(/^id: (\d+)/.exec(events.at(-2) ?? '')?.[1])
    assert.match(problem.detail, new RegExp(`^events ${seen + 1} to ${dropped} were dropped`))
    assert.deepEqual([problem.position, Number(id)], [dropped, dropped])
    const resumed = await open(kept.socketPath, '/v1/events?follow', { 'last-event-id': String(dropped) })
    assert.deepEqual(await positions(resumed, 1), [dropped + 1])
  })

  test('as NDJSON the error is the last line', async () => {
    const before = await api.metric(CUT_OFF)
    const client = await silentClient(api.socketPath, '/v1/events?since=0', 'application/x-ndjson')
    await until(api, CUT_OFF, (count) => count === before + 1)
    client.resume()
    const last =
      bodyOf(await text(client))
        .trimEnd()
        .split('\n')
        .at(-1) ?? ''
    const { error } = z.strictObject({ error: problemSchema }).parse(JSON.parse(last))
    assert.equal(error.code, 'aborted')
    assert.ok(error.position !== undefined && error.position > 0)
  })

  test('our own client resumes by itself where it was', async () => {
    const client = new PurserClient({ socketPath: api.socketPath })
    const since = api.log.head - 3000
    const before = await api.metric(CUT_OFF)
    const seen: number[] = []
    for await (const { position } of client.events({ since, follow: true })) {
      if (seen.length === 0) await until(api, CUT_OFF, (count) => count === before + 1)
      seen.push(position)
      if (position === api.log.head) break
    }
    assert.deepEqual(
      seen,
      Array.from({ length: seen.length }, (_, index) => since + 1 + index),
    )
    assert.equal(seen.at(-1), api.log.head)
  })
})
