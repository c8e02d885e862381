import assert from 'node:assert/strict'
import { createHash, generateKeyPairSync } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { signerOf, signNote, verifierOf } from '../../../src/archive/note.ts'
import { byteString } from '../../../src/host/byte-paths.ts'
import { plainFile, type TarEntry } from '../../../src/layers/tar/header.ts'
import { encodeHeader, paddingAfter, TAR_END } from '../../../src/layers/tar/writer.ts'
import { PurserError } from '../../../src/model/errors.ts'
import { NodeSignatures } from '../../../src/secrets/node-signatures.ts'
import { readArchive } from '../../../src/workers/task/checkpoint/read-archive.ts'
import { temporaryDirectory } from '../../support/trees.ts'

const own = temporaryDirectory()
after(() => own[Symbol.dispose]())

const newSigner = (name: string) =>
  signerOf(name, generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())
const [here, trusted, stranger] = [newSigner('here'), newSigner('trusted'), newSigner('stranger')]
const signatures = new NodeSignatures(here, [verifierOf(trusted)])

const digestOf = (data: Buffer) => `sha256:${createHash('sha256').update(data).digest('hex')}`
const IMAGE = Buffer.from('image of a process')
const LAYER = Buffer.alloc(1024, 'layer')
const listed = (name: string, data: Buffer) => ({ name, sizeBytes: data.length, digest: digestOf(data) })
const FILES = [listed('images/core-1.img', IMAGE), listed('layer.tar', LAYER)]

function manifest(files: readonly object[] = FILES, signer = trusted, format = 'purser-checkpoint-archive/1\n') {
  const made = { imageConfig: `sha256:${'0'.repeat(64)}`, runtime: 'runc', criu: '4.2', architecture: 'amd64', files }
  return Buffer.from(signNote(`${format}${JSON.stringify(made)}\n`, signer))
}

function entry(name: string, data: Buffer, more: Partial<TarEntry> = {}): Buffer {
  const header = encodeHeader({
    ...plainFile(byteString(name), { mode: 0o6777, sizeBytes: data.length }),
    uid: 1000,
    gid: 1000,
    ...more,
  })
  return Buffer.concat(more.type === undefined ? [header, data, paddingAfter(data.length)] : [header])
}

const FIRST = entry('manifest', manifest())
const CORE = entry('images/core-1.img', IMAGE)
const LAST = entry('layer.tar', LAYER)
const WHOLE = Buffer.concat([FIRST, CORE, LAST, TAR_END])

let count = 0
/** Reads an archive into a new directory; what was written is told also where it fails. */
async function read(bytes: Buffer, check = () => {}) {
  const target = join(own.path, `target-${++count}`)
  const path = join(own.path, `archive-${count}.tar`)
  mkdirSync(join(target, 'images'), { recursive: true })
  writeFileSync(path, bytes)
  const written = () =>
    readdirSync(target, { recursive: true, withFileTypes: true }).filter((each) => !each.isDirectory())
  try {
    await readArchive(path, target, signatures, check, AbortSignal.timeout(10_000))
    return { target, written: written(), error: undefined }
  } catch (error) {
    assert.ok(error instanceof PurserError, String(error))
    return { target, written: written(), error }
  }
}

test('an archive of a trusted node is written as plain files of root, whatever owners and modes it has', async () => {
  for (const signer of [here, trusted]) {
    const bytes = Buffer.concat([entry('manifest', manifest(FILES, signer)), CORE, LAST, TAR_END])
    const { target, error } = await read(bytes)
    assert.equal(error, undefined)
    for (const [name, data] of [
      ['images/core-1.img', IMAGE],
      ['layer.tar', LAYER],
    ] as const) {
      assert.deepEqual(readFileSync(join(target, name)), data)
      const { mode, uid, gid } = statSync(join(target, name))
      assert.deepEqual([mode & 0o7777, uid, gid], [0o600, process.getuid?.(), process.getgid?.()])
    }
  }
})

const HOSTILE: readonly (readonly [what: string, bytes: Buffer, code: string])[] = [
  ['nothing at all', Buffer.alloc(0), 'data_loss'],
  ['no tar', Buffer.from('x'.repeat(2000)), 'data_loss'],
  ['no manifest', Buffer.concat([CORE, LAST, TAR_END]), 'data_loss'],
  [
    'a manifest without a signature',
    Buffer.concat([entry('manifest', Buffer.from('{}\n')), TAR_END]),
    'permission_denied',
  ],
  [
    'a stranger’s signature',
    Buffer.concat([entry('manifest', manifest(FILES, stranger)), CORE, LAST, TAR_END]),
    'permission_denied',
  ],
  [
    'an altered manifest',
    Buffer.from(WHOLE.toString('latin1').replace('"4.2"', '"4.3"'), 'latin1'),
    'permission_denied',
  ],
  [
    'a signature of something else',
    Buffer.concat([entry('manifest', manifest(FILES, trusted, 'log\n')), TAR_END]),
    'data_loss',
  ],
  ['an altered image', Buffer.from(WHOLE.toString('latin1').replace('image of', 'Image of'), 'latin1'), 'data_loss'],
  ['a missing file', Buffer.concat([FIRST, CORE, TAR_END]), 'data_loss'],
  ['an end in the middle', WHOLE.subarray(0, WHOLE.length - 3000), 'data_loss'],
  ['a file more', Buffer.concat([FIRST, CORE, LAST, entry('images/core-2.img', IMAGE), TAR_END]), 'data_loss'],
  ['a file twice', Buffer.concat([FIRST, CORE, CORE, LAST, TAR_END]), 'data_loss'],
  ['a larger file', Buffer.concat([FIRST, entry('images/core-1.img', LAYER), LAST, TAR_END]), 'data_loss'],
  ...(['symlink', 'link', 'char', 'block', 'fifo', 'directory'] as const).map(
    (type) =>
      [
        `a ${type} in the place of a file`,
        Buffer.concat([
          FIRST,
          entry('images/core-1.img', IMAGE, { type, linkPath: byteString('/etc/shadow') }),
          TAR_END,
        ]),
        'data_loss',
      ] as const,
  ),
  ...['../escape', '/etc/escape', 'images/../../escape', 'images/.hidden', 'images/a/b', 'work/x', 'images/'].map(
    (name) =>
      [
        `a manifest that lists ${name}`,
        Buffer.concat([entry('manifest', manifest([listed(name, IMAGE)])), entry(name, IMAGE), TAR_END]),
        'data_loss',
      ] as const,
  ),
  [
    'a manifest that lists a file twice',
    Buffer.concat([entry('manifest', manifest([...FILES, ...FILES])), TAR_END]),
    'data_loss',
  ],
  ['a manifest without end', Buffer.concat([entry('manifest', Buffer.alloc(0), { sizeBytes: 2 ** 30 })]), 'data_loss'],
]

for (const [what, bytes, code] of HOSTILE) {
  test(`${what} is refused`, async () => {
    const { error, target } = await read(bytes)
    assert.equal(error?.code, code, String(error))
    assert.deepEqual(
      readdirSync(own.path).filter((name) => name === 'escape'),
      [],
    )
    assert.deepEqual(
      readdirSync(target).filter((name) => !['images', 'layer.tar'].includes(name)),
      [],
    )
  })
}

test('a manifest that does not suit is refused before anything is written', async () => {
  const { error, written } = await read(WHOLE, () => {
    throw new PurserError('failed_precondition', 'of another image')
  })
  assert.equal(error?.message, 'of another image')
  assert.deepEqual(written, [])
})

test('of an archive with any byte altered nothing else is taken than what was signed', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(WHOLE.length - 1), fc.integer({ min: 1, max: 255 }), async (at, by) => {
      const bytes = Buffer.from(WHOLE)
      bytes[at] = (bytes[at] ?? 0) ^ by
      const { error, target } = await read(bytes)
      if (error !== undefined) return
      assert.deepEqual(readFileSync(join(target, 'images/core-1.img')), IMAGE)
      assert.deepEqual(readFileSync(join(target, 'layer.tar')), LAYER)
      assert.deepEqual(readdirSync(join(target, 'images')), ['core-1.img'])
    }),
    { numRuns: 300 },
  )
})
