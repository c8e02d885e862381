import assert from 'node:assert/strict'
import { basename, dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { ProxySnapshotter } from '../../../src/snapshotters/proxy.ts'
import { startContainerd, type TestContainerd } from '../../support/containerd.ts'
import { temporaryDirectory } from '../../support/trees.ts'
import { snapshotterContract } from './contract.ts'

let containerd: TestContainerd
before(async () => {
  containerd = await startContainerd()
})
after(() => containerd[Symbol.asyncDispose]())

/** containerd's own overlayfs, a namespace for each test. */
const open = async (root: string) =>
  new ProxySnapshotter('remote', {
    address: containerd.address,
    snapshotter: 'overlayfs',
    namespace: basename(dirname(root)),
  })

snapshotterContract('proxy', open, { rootOf: 'containerd' })

const signal = AbortSignal.timeout(60_000)

test('a server that is not there is named, and asked again once it is', async () => {
  using work = temporaryDirectory()
  const address = join(work.path, 'nobody.sock')
  const snapshotter = new ProxySnapshotter('remote', { address, snapshotter: 'overlayfs', namespace: 'n' })
  await assert.rejects(snapshotter.list(signal), { code: 'unavailable', message: /nobody\.sock/ })
  assert.match((await snapshotter.unavailable(signal)) ?? '', /nobody\.sock does not answer/)
})

test("the server's refusals keep their code and words", async () => {
  const snapshotter = new ProxySnapshotter('remote', {
    address: containerd.address,
    snapshotter: 'no-such',
    namespace: 'n',
  })
  await assert.rejects(snapshotter.create('a', 'active', [], signal), { code: 'invalid_argument', message: /no-such/ })
  const other = await open('/test/refusals/root')
  await assert.rejects(other.create('a', 'active', ['none'], signal), { code: 'not_found' })
  await other.create('a', 'active', [], signal)
  await assert.rejects(other.create('a', 'active', [], signal), { code: 'already_exists' })
  await other.remove('a', signal)
})
