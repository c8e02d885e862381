import assert from 'node:assert/strict'
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { ROOT } from '../support/sources.ts'

const textOf = (path: string): string => readFileSync(join(ROOT, path), 'utf8')
const documents = globSync(['*.md', 'docs/**/*.md'], { cwd: ROOT })
const numbers = readdirSync(join(ROOT, 'docs/adr')).map((name) => Number(/^(\d{4})-/.exec(name)?.[1]))

test('decisions are numbered from 1 on, each number once, as their titles say', () => {
  assert.deepEqual(
    numbers.toSorted((a, b) => a - b),
    numbers.map((_, index) => index + 1),
  )
  for (const path of documents.filter((each) => each.startsWith('docs/adr/')))
    assert.match(textOf(path), new RegExp(`^# ${Number(path.slice('docs/adr/'.length).split('-')[0])}\\. `), path)
})

test('what documents link to, and decisions that they name, are there', () => {
  for (const path of documents) {
    for (const [, target = ''] of textOf(path).matchAll(/\]\((?!\w+:)([^)#\s]+)/g))
      assert.ok(existsSync(join(ROOT, dirname(path), target)), `${path} → ${target}`)
    for (const [, number] of textOf(path).matchAll(/\bADR (\d+)/g))
      assert.ok(numbers.includes(Number(number)), `${path}: ADR ${number}`)
  }
})

test('files of src/ that ARCHITECTURE.md names are there', () => {
  const places = ['src', 'src/workers/task', '.']
  for (const [, path = ''] of textOf('ARCHITECTURE.md').matchAll(/`([a-z][a-z/.-]*\/(?:[a-z-]+\.ts)?)`/g))
    assert.ok(
      places.some((place) => existsSync(join(ROOT, place, path))),
      path,
    )
})
