import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { verbs } from '../../../src/cli/index.ts'
import { findVerb } from '../../../src/cli/line/find-verb.ts'
import { globals } from '../../../src/cli/line/globals.ts'
import { checkArguments, parseLine, withDefaults } from '../../../src/cli/line/parse-line.ts'
import { alertNames, runbookOf } from '../../support/rules.ts'

const RUNBOOKS = join(import.meta.dirname, '../../../docs/runbooks')
const runbooks = readdirSync(RUNBOOKS).filter((name) => name !== 'README.md')
const textOf = (name: string) => readFileSync(join(RUNBOOKS, name), 'utf8')

describe('runbooks', () => {
  test('every alert links to one that is there and names it, and every one is linked to', () => {
    const linked = new Map(alertNames().map((alert) => [alert, runbookOf(alert)]))
    for (const [alert, name] of linked) {
      assert.ok(runbooks.includes(name), `${alert} → ${name}`)
      assert.match(textOf(name), new RegExp(`^Alerts: .*\`${alert}\``, 'm'))
    }
    assert.deepEqual([...new Set(linked.values())].sort(), runbooks.sort())
    for (const name of runbooks) {
      const named = [...(/^Alerts: (.*)$/m.exec(textOf(name))?.[1] ?? '').matchAll(/\w+/g)].map(String)
      assert.deepEqual(
        named.filter((alert) => linked.get(alert) !== name),
        [],
        name,
      )
      assert.ok(textOf('README.md').includes(`(${name})`), `README.md lists ${name}`)
    }
  })

  test('what they link to is there', () => {
    for (const name of [...runbooks, 'README.md'])
      for (const [, target = ''] of textOf(name).matchAll(/\]\(([^)#]+)/g))
        assert.ok(existsSync(join(RUNBOOKS, target)), `${name} → ${target}`)
  })

  for (const name of [...runbooks, '../observability.md'])
    test(`the commands of ${name} are ones that purser takes`, async () => {
      const text = textOf(name)
      const blocks = [...text.matchAll(/```sh\n(.*?)```/gs)].flatMap(([, block = '']) => block.split('\n'))
      const inline = [...text.replaceAll(/```.*?```/gs, '').matchAll(/`(purser [^`]+)`/g)].map(([, line = '']) => line)
      for (const line of [...blocks, ...inline]) {
        const [first, ...words] = wordsOf(line)
        if (first !== 'purser') continue
        const found = findVerb(words, verbs, globals)
        assert.ok('listed' in found, line)
        const { verb } = await found.listed.load()
        const optionsEnd = verb.passThrough ? 'first-argument' : 'nowhere'
        const parsed = parseLine(found.rest, { options: { ...globals, ...verb.options }, optionsEnd })
        withDefaults(parsed.given, verb.options)
        // In a sentence the arguments may go without saying.
        if (blocks.includes(line)) checkArguments(parsed.args, verb.args)
      }
    })
})

/** Up to a pipe, a redirection or a comment. */
function wordsOf(line: string): string[] {
  const words: string[] = []
  for (const [, single, double, plain] of line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)) {
    if (plain !== undefined && /^(?:[|>&#;]|2>)/.test(plain)) break
    words.push(single ?? double ?? plain ?? '')
  }
  return words
}
