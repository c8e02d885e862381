import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { z } from 'zod'
import { startNode, type TestNode } from '../../support/daemon.ts'
import { checkBooks, checkLife, instant, rounds, submitSurely, succeeded, taskReleased } from '../../support/faults.ts'
import { startRegistry, type TestRegistry, tarLayer } from '../../support/registry.ts'

const LAYERS = 12
const FILES = 30
const FILE_BYTES = 40_000

test('a daemon killed at random instants while it pulls finishes the pull, and nothing half done stays', async (t) => {
  await using registry = await startRegistry()
  await using node = await startNode()
  for (const round of rounds(2)) {
    const image = await pushDeepImage(registry, `deep${round}`)
    const id = `p${round}`
    const patience = AbortSignal.timeout(60_000)
    const payload = { image: image.reference, options: { args: ['sh', '-c', 'cat /layer*/* | sha256sum'] } }
    // Every other round pulls as a step of a run.
    const request =
      round % 2 === 0
        ? ({ type: 'image.pull', subject: image.reference } as const)
        : ({ type: 'container.run', subject: id, payload } as const)
    const asked = submitSurely(node, request, patience)
    await node.kill9After(instant(t, `round ${round}: killed`, 700))
    node.start()
    await node.kill9After(instant(t, `round ${round}: killed, recovering,`, 1800))
    await node.restart()
    await succeeded(node, await asked)
    if (request.type === 'image.pull') {
      await succeeded(node, await submitSurely(node, { type: 'container.run', subject: id, payload }, patience))
    }
    assert.equal((await node.cli('wait', id)).stdout.trim(), '0')
    assert.equal((await node.cli('logs', id)).stdout, `${image.sha256}  -\n`)
    await taskReleased(node, id)
    await checkLife(node, id, 0)
    await checkDisk(node)
    await checkBooks(node)
  }
})

/** On disk is what the log says, and nothing else. */
async function checkDisk(node: TestNode): Promise<void> {
  const ingests = join(node.root, 'content/ingest')
  const left = (await readdir(ingests)).map(async (name) => {
    const files = (await readdir(join(ingests, name))).join(' ')
    return `${await readFile(join(ingests, name, 'ref'), 'utf8')}: ${files}`
  })
  assert.deepEqual(await Promise.all(left), [], 'ingests')
  const digests = (await listed(node, 'content')).map((item) => z.object({ digest: z.string() }).parse(item).digest)
  const blobs = await readdir(join(node.root, 'content/blobs/sha256'))
  assert.deepEqual(blobs.map((hex) => `sha256:${hex}`).sort(), digests.sort())
  for (const hex of blobs) {
    const bytes = await readFile(join(node.root, 'content/blobs/sha256', hex))
    assert.equal(createHash('sha256').update(bytes).digest('hex'), hex)
  }
  const directories = await readdir(join(node.root, 'snapshotters/overlayfs/snapshots'))
  assert.equal(directories.length, (await listed(node, 'snapshots')).length, `snapshots: ${directories.join(' ')}`)
}

async function listed(node: TestNode, kind: 'content' | 'snapshots'): Promise<unknown[]> {
  const answer = await node.http('GET', `/v1/${kind}?limit=1000`)
  assert.equal(answer.status, 200, answer.text)
  return z.object({ items: z.array(z.unknown()) }).parse(answer.json).items
}

/** An image whose layers take a while to unpack, and the digest of all its files, in the order of their names. */
async function pushDeepImage(registry: TestRegistry, repository: string) {
  const hash = createHash('sha256')
  const names = ['sh', 'cat', 'sha256sum']
  const base = await tarLayer([
    { name: 'bin/', type: 'directory' },
    { name: 'bin/busybox', content: await readFile('/bin/busybox'), mode: 0o755 },
    ...names.map((name) => ({ name: `bin/${name}`, type: 'symlink' as const, linkname: 'busybox' })),
  ])
  const layers = [base]
  for (let layer = 10; layer < 10 + LAYERS; layer++) {
    const files = Array.from({ length: FILES }, (_, file) => {
      const content = randomBytes(FILE_BYTES)
      hash.update(content)
      return { name: `layer${layer}/file${100 + file}`, content }
    })
    layers.push(await tarLayer([{ name: `layer${layer}/`, type: 'directory' }, ...files]))
  }
  const { reference } = await registry.pushImage({
    repository,
    tag: 'latest',
    layers,
    config: { Env: ['PATH=/bin'], Cmd: ['sh'] },
  })
  return { reference, sha256: hash.digest('hex') }
}
