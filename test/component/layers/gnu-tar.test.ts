import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { lstatSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { startExtractor } from '../../support/layers.ts'
import { sha256 } from '../../support/tars.ts'
import { describeTree, temporaryDirectory } from '../../support/trees.ts'

/** A tree with all that a root file system may have; `sh` is only used here, to make it. */
const ODD_TREE = `
  umask 022
  mkdir -p usr/bin 'dir with spaces' etc
  printf root > etc/passwd
  printf suid > usr/bin/su && chown 0:42 usr/bin/su && chmod 4755 usr/bin/su
  printf cap > usr/bin/ping && setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 usr/bin/ping
  printf x > xattrs && setfattr -n user.text -v hello xattrs && setfattr -n user.bin -v 0x000aff3d xattrs
  printf "ü" > "$(printf 'utf8-\\303\\274')"
  mkdir "$(printf 'latin1-\\374')" && printf y > "$(printf 'latin1-\\374/\\351')"
  mkdir sticky && chmod 1777 sticky
  mkdir setgid && chown 0:7 setgid && chmod 2775 setgid && printf in > setgid/in
  mkdir closed && printf in > closed/in && chmod 000 closed && chown 1000:1000 closed
  ln -s ../etc/passwd usr/link && ln -s /absolute/nowhere dangling && chown -h 12:34 dangling
  printf linked > hard1 && ln hard1 hard2 && ln hard1 usr/hard3
  mkfifo fifo && chmod 0622 fifo
  mknod null c 1 3 && chmod 666 null && mknod disk b 259 70000
  truncate -s 3M sparse && printf middle | dd of=sparse bs=1 seek=1500000 conv=notrunc status=none
  printf end | dd of=sparse bs=1 seek=3145725 conv=notrunc status=none
  truncate -s 1M hole
  for i in $(seq 40); do printf $i | dd of=many-holes bs=1 seek=$((i * 20000)) conv=notrunc status=none; done
  head -c 300000 /dev/urandom > random
  : > empty
  mkdir -p ${'deep/'.repeat(60)}end
  printf long > ${'n'.repeat(200)} && ln -s ${'t'.repeat(300)} long-target
  touch -d '1969-12-31 23:59:58.5' before-1970
  touch -d '2001-02-03 04:05:06.123456789' precise
  touch -d '2002-02-02 02:02:02' etc usr usr/bin
  chown 3000000:4000000 empty
`

const formats: Record<string, string[]> = {
  pax: ['--format=pax', '--xattrs', '--xattrs-include=*', '--pax-option=delete=atime,delete=ctime'],
  'pax with sparse files of version 0.0': [
    '--format=pax',
    '--sparse',
    '--sparse-version=0.0',
    '--xattrs',
    '--xattrs-include=*',
  ],
  'pax with sparse files of version 0.1': [
    '--format=pax',
    '--sparse',
    '--sparse-version=0.1',
    '--xattrs',
    '--xattrs-include=*',
  ],
  'pax with sparse files of version 1.0': [
    '--format=pax',
    '--sparse',
    '--sparse-version=1.0',
    '--xattrs',
    '--xattrs-include=*',
  ],
  'gnu with old sparse files': ['--format=gnu', '--sparse'],
  gnu: ['--format=gnu'],
}

for (const [what, args] of Object.entries(formats)) {
  test(`a tree packed as ${what} comes out as GNU tar has it`, async () => {
    await using extractor = startExtractor()
    using work = temporaryDirectory()
    const source = join(work.path, 'source')
    const expected = join(work.path, 'expected')
    mkdirSync(source)
    mkdirSync(expected)
    execFileSync('sh', ['-ec', ODD_TREE], { cwd: source })
    const archive = join(work.path, 'tar')
    execFileSync('tar', [...args, '--numeric-owner', '--sort=name', '-cf', archive, '-C', source, '.'])
    const xattrs = ['--xattrs', '--xattrs-include=*']
    execFileSync('tar', ['-xpf', archive, '--numeric-owner', ...xattrs, '-C', expected])

    const tar = readFileSync(archive)
    const result = await extractor.extract(tar)
    assert.deepEqual(describeTree(result.target), describeTree(expected))
    assert.deepEqual([result.digest, result.diffId], [sha256(tar), sha256(tar)])
    assert.deepEqual(result.implicitParents, [])
    if (args.includes('--sparse')) {
      assert.ok(lstatSync(join(result.target, 'sparse')).blocks < 100, 'the holes are kept')
    }
  })
}

const compressions: Record<string, (tar: Buffer) => Buffer> = {
  gzip: (tar) => gzipSync(tar),
  'gzip in many members': (tar) => Buffer.concat(inParts(tar, 70_001).map((part) => gzipSync(part))),
  'gzip with zeros after its end': (tar) => Buffer.concat([gzipSync(tar), Buffer.alloc(200_000)]),
  zstd: (tar) => zstdCompressSync(tar),
  'zstd in many frames, some to be skipped': (tar) => {
    const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3])
    return Buffer.concat([skippable, ...inParts(tar, 70_001).flatMap((part) => [zstdCompressSync(part), skippable])])
  },
}

function inParts(bytes: Buffer, length: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / length) }, (_, at) =>
    bytes.subarray(at * length, (at + 1) * length),
  )
}

for (const [what, compress] of Object.entries(compressions)) {
  test(`a layer compressed with ${what} gives both digests`, async () => {
    await using extractor = startExtractor()
    using work = temporaryDirectory()
    execFileSync('sh', ['-ec', 'head -c 1000000 /dev/urandom > random; head -c 2000000 /dev/zero > zeros'], {
      cwd: work.path,
    })
    const tar = execFileSync('tar', ['-cf', '-', 'random', 'zeros'], { cwd: work.path, maxBuffer: 2 ** 24 })
    const layer = compress(tar)
    const { digest, diffId, tarBytes, target, unpackedBytes } = await extractor.extract(layer)
    assert.deepEqual([digest, diffId], [sha256(layer), sha256(tar)])
    assert.deepEqual([tarBytes, unpackedBytes], [tar.length, 3_000_000])
    assert.deepEqual(readFileSync(join(target, 'random')), readFileSync(join(work.path, 'random')))
  })
}
