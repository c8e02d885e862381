import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { openCheckpoint, signCheckpoint } from '../../../src/archive/checkpoint.ts'
import {
  formatVerifier,
  openNote,
  parseVerifier,
  type Signer,
  signNote,
  verifierOf,
} from '../../../src/archive/note.ts'

const newSigner = (name: string): Signer => ({ name, key: generateKeyPairSync('ed25519').privateKey })

test('a note that others have signed opens', () => {
  // The example of Go's sumdb/note, which the format comes from.
  const verifier = parseVerifier('PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW')
  const text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
  const signature = 'x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM='
  assert.equal(openNote(`${text}\n\u2014 PeterNeumann ${signature}\n`, verifier), text)
})

test('a verifier key is read as it was written', () => {
  const verifier = verifierOf(newSigner('purser/nodes/a'))
  assert.equal(formatVerifier(parseVerifier(formatVerifier(verifier))), formatVerifier(verifier))
})

test('what is no verifier key is refused', () => {
  const good = formatVerifier(verifierOf(newSigner('a')))
  for (const bad of ['', 'a', good.slice(0, -8), good.replace(/\+./, '+g'), `b${good}`])
    assert.throws(() => parseVerifier(bad), { code: 'invalid_argument' }, bad)
})

test('a checkpoint opens for its signer, also with a witness; not with any bit altered, nor for another key', () => {
  const signer = newSigner('purser/nodes/a')
  const verifier = verifierOf(signer)
  const checkpoint = { origin: signer.name, size: 2 ** 40, root: Buffer.alloc(32, 7) }
  const note = signCheckpoint(checkpoint, signer)
  assert.deepEqual(openCheckpoint(note, verifier), checkpoint)
  const witness = signNote(note.slice(0, note.indexOf('\n\n') + 1), newSigner('witness'))
  const both = `${note}${witness.slice(witness.lastIndexOf('\n\n') + 2)}`
  assert.deepEqual(openCheckpoint(both, verifier), checkpoint)
  assert.throws(() => openCheckpoint(note, verifierOf(newSigner('purser/nodes/a'))), { code: 'data_loss' })
  const bytes = Buffer.from(note)
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.nat(7), (at, bit) => {
      const altered = Buffer.from(bytes)
      altered[at] = (altered[at] ?? 0) ^ (1 << bit)
      assert.throws(() => openCheckpoint(altered.toString(), verifier), { code: 'data_loss' })
    }),
    { numRuns: 500 },
  )
})
