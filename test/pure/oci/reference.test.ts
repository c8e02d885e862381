import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Digest, digestOf } from '../../../src/model/digest.ts'
import { formatReference, type ImageReference, parseReference } from '../../../src/oci/reference.ts'

const hex = 'a'.repeat(64)

test('a reference is normalised as Docker does', () => {
  const expected: Record<string, string> = {
    'hello-world': 'docker.io/library/hello-world:latest',
    'hello-world:1': 'docker.io/library/hello-world:1',
    'user/app': 'docker.io/user/app:latest',
    'docker.io/app': 'docker.io/library/app:latest',
    'index.docker.io/app': 'docker.io/library/app:latest',
    'docker.io/a/b/c:x': 'docker.io/a/b/c:x',
    'localhost/app': 'localhost/app:latest',
    'localhost:5000/app:1': 'localhost:5000/app:1',
    'localhost:5000': 'docker.io/library/localhost:5000',
    'quay.io/a/b': 'quay.io/a/b:latest',
    'reg:5000/a': 'reg:5000/a:latest',
    'REG/a': 'REG/a:latest',
    '[::1]:5000/a/b:t': '[::1]:5000/a/b:t',
    '127.0.0.1:5055/bench/tiny': '127.0.0.1:5055/bench/tiny:latest',
    [`app@sha256:${hex}`]: `docker.io/library/app@sha256:${hex}`,
    [`app:1@sha256:${hex}`]: `docker.io/library/app:1@sha256:${hex}`,
    'a__b/c--d.e_f': 'docker.io/a__b/c--d.e_f:latest',
  }
  for (const [text, canonical] of Object.entries(expected)) {
    assert.equal(formatReference(parseReference(text)), canonical, text)
  }
})

test('a malformed reference is refused, by name and with a remedy', () => {
  const malformed = [
    '',
    '/',
    '/app',
    'app/',
    'App',
    'a//b',
    'a/../b',
    'reg.io/',
    'reg.io//a',
    'reg.io/A',
    'reg.io:x/a',
    'reg.io:99999/a',
    '-reg.io/a',
    '[::g]:1/a',
    '[]/a',
    '::1/a',
    'app:',
    'app:-x',
    'app:a:b',
    `app:${'t'.repeat(129)}`,
    'app@',
    'app@sha256:abc',
    `app@sha256:${'A'.repeat(64)}`,
    `app@md5:${'a'.repeat(32)}`,
    `@sha256:${hex}`,
    hex,
    ' app',
    'app\n',
    'app name',
    'a___b',
    'a_.b',
    '.a',
    'a.',
    'é',
    'http://reg.io/app',
    'x'.repeat(256),
    'x'.repeat(5000),
  ]
  for (const text of malformed) {
    assert.throws(
      () => parseReference(text),
      (error: unknown) => {
        assert.ok(error instanceof Error && 'code' in error && 'remedy' in error)
        assert.equal(error.code, 'invalid_argument')
        assert.ok(error.message.includes(JSON.stringify(text).slice(1, 60).replace(/"$/, '')), error.message)
        assert.ok(error.message.length < 800)
        assert.match(String(error.remedy), /repository/)
        return true
      },
      text,
    )
  }
})

const lower = fc.stringMatching(/^[a-z0-9]{1,8}$/)
const component = fc
  .tuple(lower, fc.array(fc.tuple(fc.constantFrom('.', '_', '__', '-', '---'), lower), { maxLength: 2 }))
  .map(([first, more]) => first + more.flat().join(''))
const registry = fc.oneof(
  fc.constantFrom('docker.io', 'localhost', 'quay.io', '[fe80::1]', 'Registry'),
  fc
    .tuple(fc.constantFrom('reg', 'localhost', '10.0.0.1', '[::1]'), fc.nat(65535))
    .map(([host, port]) => `${host}:${port}`),
)
const digest: fc.Arbitrary<Digest> = fc.oneof(
  fc.string().map((text) => digestOf(text)),
  fc.stringMatching(/^[0-9a-f]{128}$/).map((hex): Digest => `sha512:${hex}`),
)
const tag = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/)
const reference: fc.Arbitrary<ImageReference> = fc
  .record({
    registry,
    repository: fc.array(component, { minLength: 2, maxLength: 4 }).map((parts) => parts.join('/')),
    named: fc.oneof(fc.record({ tag }), fc.record({ digest }), fc.record({ tag, digest })),
  })
  .map(({ named, ...rest }) => ({ ...rest, ...named }))

test('what is formatted is parsed back to the same', () => {
  fc.assert(fc.property(reference, (given) => assert.deepEqual(parseReference(formatReference(given)), given)))
})

test('any text is either refused as an argument or reaches a form that stays', () => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^[a-zA-Z0-9./:@_-]{0,40}$/))
  fc.assert(
    fc.property(text, (given) => {
      let first: string
      try {
        first = formatReference(parseReference(given))
      } catch (error) {
        assert.ok(error instanceof Error && 'code' in error && error.code === 'invalid_argument')
        return
      }
      assert.equal(formatReference(parseReference(first)), first)
    }),
  )
})
