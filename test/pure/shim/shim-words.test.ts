import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, toBinary } from '@bufbuild/protobuf'
import { PurserError } from '../../../src/model/errors.ts'
import { parseShimAddress, parseShimVersion } from '../../../src/shim/bootstrap.ts'
import { BootstrapResultSchema } from '../../../src/shim/gen/bootstrap_pb.ts'
import { shimName } from '../../../src/shim/runtimes.ts'
import { readableTaskError } from '../../../src/shim/task-error.ts'

test('the answers of all generations of shims give an address', () => {
  const address = 'unix:///run/s/1'
  const message = create(BootstrapResultSchema, { version: 3, address, protocol: 'ttrpc' })
  assert.deepEqual(parseShimAddress(Buffer.from(`${address}\n`)), {
    socketPath: '/run/s/1',
    version: 2,
    protocol: 'ttrpc',
  })
  assert.deepEqual(parseShimAddress(Buffer.from(JSON.stringify({ version: 3, address, protocol: 'ttrpc' }))), {
    socketPath: '/run/s/1',
    version: 3,
    protocol: 'ttrpc',
  })
  assert.deepEqual(parseShimAddress(toBinary(BootstrapResultSchema, message)), {
    socketPath: '/run/s/1',
    version: 3,
    protocol: 'ttrpc',
  })
  const grpc = JSON.stringify({ version: 2, address, protocol: 'grpc' })
  assert.equal(parseShimAddress(Buffer.from(grpc)).protocol, 'grpc')
})

test('a shim that answers something else is refused with what it said', () => {
  assert.throws(() => parseShimAddress(Buffer.from('usage: shim')), { code: 'unimplemented', message: /usage: shim/ })
  assert.throws(() => parseShimAddress(Buffer.from('{"version":3}')), { code: 'unimplemented', message: /version/ })
  assert.throws(() => parseShimAddress(Buffer.from('{')), { code: 'unimplemented' })
  assert.throws(() => parseShimAddress(Buffer.from([8, 255])), { code: 'unimplemented' })
  for (const [said, words] of [
    [{ version: 3, address: 'unix:///s', protocol: 'quic' }, /quic/],
    [{ version: 3, address: 'vsock://2:1024', protocol: 'ttrpc' }, /vsock/],
    [{ version: 4, address: 'unix:///s', protocol: 'ttrpc' }, /version 4/],
  ] as const) {
    const bytes = Buffer.from(JSON.stringify(said))
    assert.throws(() => parseShimAddress(bytes), { code: 'unimplemented', message: words })
  }
})

test('a version is read from what a shim prints, with or without a distribution suffix', () => {
  assert.deepEqual(parseShimVersion('shim:\n  Version:  1.6.20~ds1\n'), { major: 1, minor: 6 })
  assert.deepEqual(parseShimVersion('shim:\n  Version:  v2.3.0\n'), { major: 2, minor: 3 })
  assert.equal(parseShimVersion('something'), undefined)
})

test('a runtime names its shim', () => {
  assert.equal(shimName('io.containerd.runc.v2'), 'containerd-shim-runc-v2')
  assert.equal(shimName('io.containerd.runsc.v1'), 'containerd-shim-runsc-v1')
  assert.equal(shimName('/opt/shim'), '/opt/shim')
  for (const name of ['runc', '', '../x.y', 'a b.c.d']) {
    assert.throws(() => shimName(name), { code: 'invalid_argument' })
  }
})

test('a missing or refused program is told by code, in the runtime its own words', () => {
  const said = (message: string) => {
    const { code, message: readable } = readableTaskError('task c1', new PurserError('unknown', message))
    return [code, readable]
  }
  const runc = 'OCI runtime create failed: runc create failed: unable to start container process: '
  assert.deepEqual(said(`${runc}exec: "nope": executable file not found in $PATH: unknown`), [
    'not_found',
    'task c1: exec: "nope": executable file not found in $PATH',
  ])
  assert.deepEqual(said(`${runc}exec: "/nope": stat /nope: no such file or directory: unknown`), [
    'not_found',
    'task c1: exec: "/nope": stat /nope: no such file or directory',
  ])
  assert.deepEqual(said(`${runc}exec: "/etc": permission denied: unknown`), [
    'permission_denied',
    'task c1: exec: "/etc": permission denied',
  ])
  assert.deepEqual(said('OCI runtime create failed: crun create failed: open executable: Operation not permitted'), [
    'permission_denied',
    'task c1: open executable: Operation not permitted',
  ])
  assert.deepEqual(said(`${runc}error during container init: something else: unknown`), [
    'unknown',
    'task c1: error during container init: something else',
  ])
})

test('what is to be mounted and is not there is named, whichever runtime says so', () => {
  for (const words of [
    "error stat'ing file `/srv/none`: No such file or directory",
    'error during container init: error mounting "/srv/none" to rootfs at "/data": stat /srv/none: no such file or directory',
  ]) {
    const { code, field, message, remedy } = readableTaskError('task c1', new PurserError('unknown', words))
    assert.deepEqual([code, field], ['not_found', 'options.mounts'])
    assert.equal(message, 'task c1: there is no /srv/none on the host, which is to be mounted')
    assert.equal(remedy, 'make it first: mkdir /srv/none')
  }
})
