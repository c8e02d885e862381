import assert from 'node:assert/strict'
import { test } from 'node:test'
import { carriesToken } from '../../../src/api/distribution/access.ts'
import { rangeOf } from '../../../src/api/distribution/answers.ts'
import { candidatesFor } from '../../../src/api/distribution/names.ts'
import { Secret } from '../../../src/model/secret.ts'
import { formatReference } from '../../../src/oci/reference.ts'

test('one range is understood, in all of its forms; what is not is ignored', () => {
  assert.deepEqual(rangeOf('bytes=0-0', 10), { start: 0, end: 0 })
  assert.deepEqual(rangeOf('bytes=3-', 10), { start: 3, end: 9 })
  assert.deepEqual(rangeOf('bytes=3-99', 10), { start: 3, end: 9 })
  assert.deepEqual(rangeOf('bytes=-4', 10), { start: 6, end: 9 })
  assert.deepEqual(rangeOf('bytes=-99', 10), { start: 0, end: 9 })
  for (const header of ['bytes=10-', 'bytes=-0']) assert.equal(rangeOf(header, 10), 'unsatisfiable')
  for (const header of [undefined, '', 'bytes=', 'bytes=-', 'bytes=5-3', 'bytes=0-1,3-4', 'items=0-1', 'bytes=a-b'])
    assert.equal(rangeOf(header, 10), undefined, `${header}`)
})

test('a name stands for a repository of the registry that is named, or else of docker.io', () => {
  const names = (name: string, registry?: string, reference = 'v1') =>
    candidatesFor({ name, registry }, reference).map(formatReference)
  assert.deepEqual(names('library/alpine', 'docker.io'), ['docker.io/library/alpine:v1'])
  assert.deepEqual(names('alpine'), ['docker.io/library/alpine:v1'])
  assert.deepEqual(names('a/b', '127.0.0.1:5000'), ['127.0.0.1:5000/a/b:v1'])
  assert.deepEqual(names('quay.io/a/b'), ['quay.io/a/b:v1', 'docker.io/quay.io/a/b:v1'])
  assert.deepEqual(names('a/b'), ['docker.io/a/b:v1'])
  const digest = `sha256:${'0'.repeat(64)}`
  assert.deepEqual(names('a/b', 'quay.io', digest), [`quay.io/a/b@${digest}`])
  assert.deepEqual(names('a/b', 'no registry!'), [])
})

test("a token counts as a bearer and as anybody's password, whole", () => {
  const token = new Secret('0123456789abcdef')
  const basic = (pair: string) => `Basic ${Buffer.from(pair).toString('base64')}`
  for (const given of [
    'Bearer 0123456789abcdef',
    'bearer 0123456789abcdef',
    basic('a:0123456789abcdef'),
    basic(':0123456789abcdef'),
  ])
    assert.equal(carriesToken(given, token), true, given)
  for (const given of [
    undefined,
    '',
    'Bearer',
    'Bearer 0123456789abcde',
    'Bearer 0123456789abcdef0',
    basic('0123456789abcdef:x'),
    'Digest 0123456789abcdef',
  ])
    assert.equal(carriesToken(given, token), false, `${given}`)
})
