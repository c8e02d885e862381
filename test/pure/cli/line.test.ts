import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { checkArguments, parseLine, withDefaults } from '../../../src/cli/line/parse-line.ts'
import { suggestion } from '../../../src/cli/line/suggest.ts'
import type { OptionSpecs } from '../../../src/cli/line/verb.ts'
import { DetachKeys, parseDetachKeys } from '../../../src/cli/terminal/detach-keys.ts'
import { age, humanSize } from '../../../src/cli/terminal/output.ts'

const options = {
  all: { short: 'a', help: '' },
  tty: { short: 't', help: '' },
  env: { short: 'e', value: 'x', many: true, help: '' },
  name: { short: 'n', value: 'x', help: '' },
} as const satisfies OptionSpecs

const read = (line: string, optionsEnd: 'nowhere' | 'first-argument' = 'nowhere') =>
  parseLine(line.split(' '), { options, optionsEnd })

test('options are read in every way that they are written', () => {
  assert.deepEqual(read('-at -eA=1 -e B --env=C -n x y'), {
    given: { all: true, tty: true, env: ['A=1', 'B', 'C'], name: 'x' },
    args: ['y'],
  })
  assert.deepEqual(read('x --all=false -n a -n b --'), { given: { all: false, name: 'b' }, args: ['x'] })
  assert.deepEqual(read('-e -x -- -a').given, { env: ['-x'] })
  assert.deepEqual(read('-e -x -- -a').args, ['-a'])
})

test('from the first argument on everything is left as it is, where that is asked for', () => {
  assert.deepEqual(read('-t image -t --env x -- -a', 'first-argument'), {
    given: { tty: true },
    args: ['image', '-t', '--env', 'x', '--', '-a'],
  })
  fc.assert(
    fc.property(fc.array(fc.string()), (words) => {
      const { args } = parseLine(['-t', 'image', ...words], { options, optionsEnd: 'first-argument' })
      assert.deepEqual(args, ['image', ...words])
    }),
  )
})

test('no line is read but by a result or a refusal', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.string(), fc.constantFrom('-a', '-e', '--env', '--name=', '-at', '--'))),
      (words) => {
        try {
          parseLine(words, { options, optionsEnd: 'nowhere' })
        } catch (error) {
          assert.equal(Reflect.get(error as object, 'code'), 'invalid_argument')
        }
      },
    ),
  )
})

test('options that are not given are false, undefined or empty', () => {
  assert.deepEqual(withDefaults({ tty: true }, options), { all: false, tty: true, env: [], name: undefined })
})

test('arguments are as many as a verb takes', () => {
  const one = { name: 'one', count: '1' } as const
  const more = { name: 'more', count: '1-' } as const
  const any = { name: 'any', count: '0-' } as const
  checkArguments(['a'], [one])
  checkArguments(['a', 'b', 'c'], [one, more])
  checkArguments(['a'], [one, any])
  assert.throws(() => checkArguments([], [one]), { message: '<one> is missing' })
  assert.throws(() => checkArguments(['a'], [one, more]), { message: '<more> is missing' })
  assert.throws(() => checkArguments(['a', 'b'], [one]), { message: '"b" is one argument too many' })
})

test('a mistyped word is told what it is like, when it is like something', () => {
  const verbs = ['images', 'inspect', 'ps', 'pull', 'rm', 'rmi', 'run']
  assert.equal(suggestion('imagse', verbs), ' (did you mean images?)')
  assert.equal(suggestion('rnu', verbs), ' (did you mean run?)')
  assert.equal(suggestion('insp', verbs), ' (did you mean inspect?)')
  assert.equal(suggestion('containers', verbs), '')
  assert.equal(suggestion('x', verbs), '')
})

test('keys to detach: the sequence detaches, all else goes on as it was typed', () => {
  assert.deepEqual(parseDetachKeys('ctrl-p,ctrl-q'), [16, 17])
  assert.deepEqual(parseDetachKeys('a,ctrl-[,ctrl-@'), [97, 27, 0])
  assert.deepEqual(parseDetachKeys(''), [])
  assert.throws(() => parseDetachKeys('ctrl-1'), { message: '"ctrl-1" is not a key' })
  assert.throws(() => parseDetachKeys('ab'), { message: '"ab" is not a key' })

  const bytes = fc.array(fc.constantFrom(1, 2, 3), { maxLength: 12 })
  fc.assert(
    fc.property(fc.array(bytes), (chunks) => {
      const keys = new DetachKeys([1, 1, 2])
      const typed = chunks.flat()
      const input: number[] = []
      let isDetached = false
      for (const chunk of chunks) {
        if (isDetached) break
        const fed = keys.feed(Uint8Array.from(chunk))
        input.push(...fed.input)
        isDetached = fed.isDetached
      }
      const at = typed.findIndex((_, index) => typed[index] === 1 && typed[index + 1] === 1 && typed[index + 2] === 2)
      assert.equal(isDetached, at >= 0)
      if (at >= 0) assert.deepEqual(input, typed.slice(0, at))
      else assert.deepEqual(input, typed.slice(0, input.length))
      if (at < 0) assert.ok(typed.length - input.length <= 2, 'only the beginning of the sequence is held back')
    }),
  )
})

test('sizes and ages are said as docker says them', () => {
  assert.deepEqual([0, 999, 1000, 999_499, 999_999, 1_230_000, 5e12].map(humanSize), [
    '0B',
    '999B',
    '1kB',
    '999kB',
    '1MB',
    '1.23MB',
    '5TB',
  ])
  const now = Date.parse('2026-01-02T00:00:00Z')
  const ages = ['2026-01-02T00:00:05Z', '2026-01-01T23:59:59Z', '2026-01-01T23:58:00Z', '2025-12-30T00:00:00Z']
  assert.deepEqual(
    ages.map((time) => age(time, now)),
    ['0 seconds ago', '1 second ago', '2 minutes ago', '3 days ago'],
  )
})
