import assert from 'node:assert/strict'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { Secret } from '../../../src/model/secret.ts'
import { SealingKey } from '../../../src/secrets/sealing-key.ts'

const purpose = { namespace: 'default', name: 'TOKEN' }

async function newDir() {
  const path = await mkdtemp(join(tmpdir(), 'seal-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) }
}

test('what is sealed opens with the same key, for what it was sealed for, and nowhere else', async () => {
  await using dir = await newDir()
  const key = await SealingKey.open(join(dir.path, 'keys/seal.key'))
  const again = await SealingKey.open(join(dir.path, 'keys/seal.key'))
  const other = await SealingKey.open(join(dir.path, 'keys/other.key'))
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (value) => {
      const sealed = key.seal(new Secret(value), purpose)
      assert.match(sealed, /^sealed:v1:[\w-]+$/)
      assert.equal(again.open(sealed, purpose).reveal(), value.toWellFormed())
      assert.equal(again.seal(new Secret(value), purpose), sealed)
      for (const elsewhere of [
        { ...purpose, name: 'OTHER' },
        { ...purpose, namespace: 'other' },
      ]) {
        assert.notEqual(key.seal(new Secret(value), elsewhere), sealed)
        assert.throws(() => key.open(sealed, elsewhere), { code: 'failed_precondition' })
      }
      assert.throws(() => other.open(sealed, purpose), { code: 'failed_precondition', message: /TOKEN does not open/ })
    }),
  )
  assert.equal((await stat(join(dir.path, 'keys/seal.key'))).mode & 0o777, 0o600)
})

test('a bit that flips in a sealed value, or an end that is missing, is found', async () => {
  await using dir = await newDir()
  const key = await SealingKey.open(join(dir.path, 'seal.key'))
  const sealed = key.seal(new Secret('value'), purpose)
  const bytes = Buffer.from(sealed.slice('sealed:v1:'.length), 'base64url')
  for (let at = 0; at < bytes.length; at++) {
    const flipped = bytes.with(at, (bytes[at] ?? 0) ^ (1 << (at % 8)))
    assert.throws(() => key.open(`sealed:v1:${Buffer.from(flipped).toString('base64url')}`, purpose), {
      code: 'failed_precondition',
    })
    const cut = bytes.subarray(0, at)
    assert.throws(() => key.open(`sealed:v1:${cut.toString('base64url')}`, purpose), { code: 'failed_precondition' })
  }
})

test('a file that holds no key is refused, not replaced', async () => {
  await using dir = await newDir()
  await writeFile(join(dir.path, 'seal.key'), '')
  await assert.rejects(SealingKey.open(join(dir.path, 'seal.key')), { code: 'data_loss' })
})

test('of variables only those that are sealed are opened', async () => {
  await using dir = await newDir()
  const key = await SealingKey.open(join(dir.path, 'seal.key'))
  const sealed = key.seal(new Secret('a=b'), purpose)
  assert.deepEqual(key.openVariables(['A=1', `TOKEN=${sealed}`, 'B='], 'default'), ['A=1', 'TOKEN=a=b', 'B='])
})
