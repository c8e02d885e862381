import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { BootstrapParamsSchema, BootstrapResultSchema } from '../../../src/shim/gen/bootstrap_pb.ts'
import { ConnectResponseSchema } from '../../../src/shim/gen/task_pb.ts'
import { TtrpcServer } from '../../../src/shim/ttrpc-server.ts'
import { ShimHost } from '../../support/shims.ts'

const within = () => AbortSignal.timeout(30_000)

/** Answers `Connect` as a shim of containerd 2 would. */
const connectV3 = new Map([
  [
    'containerd.task.v3.Task/Connect',
    async () => toBinary(ConnectResponseSchema, create(ConnectResponseSchema, { shimPid: 42, version: '3' })),
  ],
])

/** A program that takes a shim's part in the start: prints its version or its answer, and keeps what it read. */
function fakeShim(dir: string, version: string, answer: Uint8Array): string {
  mkdirSync(dir)
  writeFileSync(join(dir, 'answer'), answer)
  const file = join(dir, 'containerd-shim-runc-v2')
  const lines = [
    '#!/bin/sh',
    `if [ "$1" = -v ]; then echo '  Version:  ${version}'; exit; fi`,
    `cat > ${join(dir, 'stdin')}`,
    `cat ${join(dir, 'answer')}`,
  ]
  writeFileSync(file, `${lines.join('\n')}\n`)
  chmodSync(file, 0o755)
  return file
}

test('a shim of containerd 2.0 is spoken to in version 3 of the task service, and found again', async () => {
  const signal = within()
  await using host = await ShimHost.start()
  await using shimServer = await TtrpcServer.listen(join(host.dir, 's'), connectV3)
  assert.ok(shimServer)
  const answer = JSON.stringify({ version: 3, address: `unix://${join(host.dir, 's')}`, protocol: 'ttrpc' })
  const shim = fakeShim(join(host.dir, 'bin'), 'v2.0.4', Buffer.from(answer))
  const { rootfs: _, ...task } = host.bundle('c1', { args: ['true'] })
  const shims = host.newShims({ runtimes: { [task.runtime]: { shim } } })
  assert.equal((await (await shims.start({ ...task, signal })).connect(signal)).shimPid, 42)
  assert.equal((await (await shims.adopt({ ...task, signal }))?.connect(signal))?.shimPid, 42)
})

test('a shim of containerd 2.3 is told everything on its standard input', async () => {
  const signal = within()
  await using host = await ShimHost.start()
  await using shimServer = await TtrpcServer.listen(join(host.dir, 's'), connectV3)
  assert.ok(shimServer)
  const result = { version: 3, address: `unix://${join(host.dir, 's')}`, protocol: 'ttrpc' }
  const answer = toBinary(BootstrapResultSchema, create(BootstrapResultSchema, result))
  const shim = fakeShim(join(host.dir, 'bin'), 'v2.3.0', answer)
  const { rootfs: _, ...task } = host.bundle('c1', { args: ['true'] })
  const shims = host.newShims({ runtimes: { [task.runtime]: { shim } } })
  assert.equal((await (await shims.start({ ...task, signal })).connect(signal)).version, '3')
  const params = fromBinary(BootstrapParamsSchema, readFileSync(join(host.dir, 'bin', 'stdin')))
  assert.equal(params.instanceId, 'c1')
  assert.equal(params.namespace, host.namespace)
  assert.equal(params.containerdTtrpcAddress, host.eventsAddress)
  assert.equal(params.extensions[0]?.value?.typeUrl, 'containerd.runc.v1.Options')
})

test('what a shim says when it does not start is passed on', async () => {
  const signal = within()
  await using host = await ShimHost.start()
  const shim = fakeShim(join(host.dir, 'bin'), '1.6.20', new Uint8Array())
  writeFileSync(shim, '#!/bin/sh\necho "no space for a shim" >&2\nexit 1\n')
  const { rootfs: _, ...task } = host.bundle('c1', { args: ['true'] })
  const shims = host.newShims({ runtimes: { [task.runtime]: { shim } } })
  await assert.rejects(shims.start({ ...task, signal }), {
    code: 'internal',
    message: 'the shim of task c1 did not start: no space for a shim',
  })
})

test('a call ends with its signal, its time or its connection, whichever comes first', async () => {
  const signal = within()
  await using host = await ShimHost.start()
  const never = new Map([
    ['containerd.task.v3.Task/Connect', () => new Promise<Uint8Array>(() => {})],
    ['containerd.task.v3.Task/Wait', () => new Promise<Uint8Array>(() => {})],
  ])
  const server = await TtrpcServer.listen(join(host.dir, 's'), never)
  const { rootfs: _, ...task } = host.bundle('c1', { args: ['true'] })
  const answer = JSON.stringify({ version: 3, address: `unix://${join(host.dir, 's')}`, protocol: 'ttrpc' })
  const shimFile = fakeShim(join(host.dir, 'bin'), '2.0.0', Buffer.from(answer))
  const shims = host.newShims({ runtimes: { [task.runtime]: { shim: shimFile } } })
  const shim = await shims.start({ ...task, signal })
  const reason = new Error('enough')
  const stop = new AbortController()
  const stopped = assert.rejects(shim.wait({}, stop.signal), reason)
  const lost = assert.rejects(shim.wait({}, signal), { code: 'unavailable' })
  stop.abort(reason)
  await stopped
  await assert.rejects(shim.state({}, signal), { code: 'unimplemented' })
  await server.close()
  await lost
  await shim.closed
  await assert.rejects(shim.wait({}, signal), { code: 'unavailable' })
})
