import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PurserError } from '../../../src/model/errors.ts'
import { ID_MAX, resolveUser, USER_FILE_BYTES_MAX, USER_FILE_LINE_MAX } from '../../../src/oci/spec/users.ts'

const files = {
  passwd: [
    '# accounts',
    'root:x:0:0:root:/root:/bin/sh',
    '',
    'app:x:1000:1001:An app:/srv/app:/bin/sh',
    'bare:x:7:8',
  ].join('\n'),
  group: ['root:x:0:', 'app:x:1001:', 'video:x:44:other,app', 'audio:x:29:app,other', 'apps:x:50:apple,xapp'].join(
    '\n',
  ),
}

const user = (text: string, from = files) => resolveUser(text, from)
const invalid = { name: 'PurserError', code: 'invalid_argument' }

test('no user is root, with its home', () => {
  assert.deepEqual(user(''), { uid: 0, gid: 0, additionalGids: [0], home: '/root' })
})

test('a name brings its group, its supplementary groups and its home', () => {
  assert.deepEqual(user('app'), { uid: 1000, gid: 1001, additionalGids: [1001, 29, 44], home: '/srv/app' })
  assert.deepEqual(user('1000'), user('app'))
})

test('a group by name or number replaces the primary one', () => {
  assert.deepEqual(user('app:video'), { uid: 1000, gid: 44, additionalGids: [44, 29], home: '/srv/app' })
  assert.deepEqual(user('app:5'), { uid: 1000, gid: 5, additionalGids: [5, 29, 44], home: '/srv/app' })
  assert.deepEqual(user('app:'), user('app'))
  assert.equal(user(':video').uid, 0)
})

test('a number needs no entry and no files', () => {
  assert.deepEqual(resolveUser('4242:17', {}), { uid: 4242, gid: 17, additionalGids: [17], home: '/' })
  assert.deepEqual(resolveUser('4242', files), { uid: 4242, gid: 0, additionalGids: [0], home: '/' })
  assert.equal(resolveUser(`${ID_MAX}:${ID_MAX}`, {}).uid, ID_MAX)
})

test('a home that is missing or no path is /', () => {
  assert.equal(user('bare').home, '/')
  assert.equal(resolveUser('a', { passwd: 'a:x:1:1::relative:' }).home, '/')
})

test('an unknown user or group is refused by name', () => {
  assert.throws(() => user('ghost'), { ...invalid, message: /"ghost".*\/etc\/passwd/ })
  assert.throws(() => user('app:ghosts'), { ...invalid, message: /\/etc\/group: "ghosts"/ })
  assert.throws(() => resolveUser('app', {}), invalid)
  assert.throws(() => user('a:b:c'), invalid)
})

test('a number out of bounds is refused, and is never a name that the image maps to root', () => {
  const hostile = {
    passwd: ['2147483648', '4294967296', '-1', '+0', '99999999999999999999'].map((n) => `${n}:x:0:0::/:`).join('\n'),
    group: '2147483648:x:0:',
  }
  for (const text of ['2147483648', '4294967296', '-1', '+0', '99999999999999999999', '1:2147483648', '1:-1']) {
    assert.throws(() => resolveUser(text, hostile), { ...invalid, message: /out of bounds/ }, text)
  }
})

test('an entry whose ids do not parse is no entry, not one of root', () => {
  for (const line of [
    'app',
    'app:x',
    'app:x::',
    'app:x:zero:0::/:',
    'app:x:4294967296:0::/:',
    'app:x:1:2147483648::/:',
    'app:x:-1:0',
  ]) {
    assert.throws(() => resolveUser('app', { passwd: line }), invalid, line)
  }
  assert.throws(() => resolveUser('1:app', { group: 'app:x:4294967296:' }), invalid)
})

test('files and lines above their bounds are refused', () => {
  const bounded = { name: 'PurserError', code: 'failed_precondition' }
  const long = 'x'.repeat(USER_FILE_LINE_MAX + 1)
  assert.throws(() => resolveUser('app', { passwd: `${long}\napp:x:1:1::/:` }), bounded)
  assert.throws(() => resolveUser('root', { ...files, group: `g:x:5:${long}` }), bounded)
  assert.throws(() => resolveUser('app', { passwd: 'a:x:1:1::/:\n'.repeat(USER_FILE_BYTES_MAX / 10) }), bounded)
})

test('any user in any files resolves within bounds, or a PurserError says why not', () => {
  const field = fc.constantFrom('', '0', '1', 'app', 'x', '2147483647', '2147483648', '-1', ' ', '#', 'é', ',', '/home')
  const file = fc
    .array(
      fc.array(field, { maxLength: 9 }).map((fields) => fields.join(':')),
      { maxLength: 6 },
    )
    .map((l) => l.join('\n'))
  const text = fc.oneof(
    fc.tuple(field, field).map((parts) => parts.join(':')),
    field,
    fc.string(),
  )
  fc.assert(
    fc.property(text, file, file, (who, passwd, group) => {
      try {
        const { uid, gid, additionalGids, home } = resolveUser(who, { passwd, group })
        for (const id of [uid, gid, ...additionalGids]) assert.ok(Number.isInteger(id) && id >= 0 && id <= ID_MAX)
        assert.equal(additionalGids[0], gid)
        assert.equal(new Set(additionalGids).size, additionalGids.length)
        assert.ok(home.startsWith('/'))
      } catch (error) {
        assert.ok(error instanceof PurserError, String(error))
      }
    }),
  )
})
