import assert from 'node:assert/strict'
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { EventFile } from '../../../src/cli/terminal/event-file.ts'
import type { StoredEvent } from '../../../src/client/index.ts'

const LARGE = 1e9

const event = (position: number, more = ''): StoredEvent =>
  ({ position, type: 'x', data: { more } }) as unknown as StoredEvent

describe('a file of events', () => {
  let dir = ''
  let path = ''
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'ef-'))
    path = join(dir, 'events.ndjson')
  })
  afterEach(() => rmSync(dir, { recursive: true }))

  const append = (bytesMax: number, ...events: StoredEvent[]): number | undefined => {
    using file = new EventFile(path, bytesMax)
    for (const each of events) file.append(each)
    return file.last
  }
  const positions = (of = path): number[] =>
    readFileSync(of, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).position)

  test('says which came last, however long its line is', () => {
    assert.equal(append(LARGE, event(1), event(2, 'x'.repeat(300_000))), undefined)
    assert.equal(append(LARGE, event(3)), 2)
    assert.equal(append(LARGE), 3)
    assert.deepEqual(positions(), [1, 2, 3])
  })

  test('drops a line that a crash cut short', () => {
    append(LARGE, event(1), event(2))
    appendFileSync(path, `{"position":3,"da${'x'.repeat(100_000)}`)
    assert.equal(append(LARGE, event(3)), 2)
    assert.deepEqual(positions(), [1, 2, 3])
    writeFileSync(path, '{"posi')
    assert.equal(append(LARGE, event(1)), undefined)
    assert.deepEqual(positions(), [1])
  })

  test('is bounded: a full one is put aside, and still says which came last', () => {
    const bytes = Buffer.byteLength(`${JSON.stringify(event(1))}\n`)
    append(2 * bytes, event(1), event(2), event(3), event(4), event(5))
    assert.deepEqual([positions(`${path}.1`), positions()], [[3, 4], [5]])
    rmSync(path)
    assert.equal(append(LARGE), 4)
  })

  test('that is of something else is left alone', () => {
    for (const other of ['hello\n', '{"a":1}\n', '[1]\n', 'null\n']) {
      writeFileSync(path, other)
      assert.throws(() => append(LARGE, event(1)), {
        code: 'failed_precondition',
        message: /the last line of .* is no event/,
      })
      assert.equal(readFileSync(path, 'utf8'), other)
    }
    assert.throws(() => new EventFile(join(dir, 'no/such'), LARGE), {
      message: /--append: .*no\/such cannot be written to/,
    })
  })
})
