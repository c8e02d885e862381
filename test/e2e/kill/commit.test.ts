import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { z } from 'zod'
import { pushTinyImage } from '../../../scripts/tiny-image.ts'
import { startNode } from '../../support/daemon.ts'
import { checkBooks, events, instant, rounds, submitSurely, succeeded } from '../../support/faults.ts'
import { startRegistry } from '../../support/registry.ts'

test('a daemon killed at random instants while it commits makes the image once, and the container runs on', async (t) => {
  await using registry = await startRegistry()
  await using node = await startNode()
  const image = await pushTinyImage({ registry: registry.address, repository: 'base', tag: 'latest' })
  const script = 'dd if=/dev/zero of=/large bs=1M count=48 && echo written && sleep 600'
  assert.equal((await node.cli('run', '-d', '--name', 'c1', image, 'sh', '-c', script)).exitCode, 0)
  while (!(await node.cli('logs', 'c1')).stdout.includes('written'))
    assert.equal((await node.cli('ps', '-q')).exitCode, 0)
  for (const round of rounds(2)) {
    const subject = `made:${round}`
    const patience = AbortSignal.timeout(60_000)
    const asked = submitSurely(node, { type: 'image.commit', subject, payload: { container: 'c1' } }, patience)
    await node.kill9After(instant(t, `round ${round}: killed`, 600))
    await node.restart()
    await succeeded(node, await asked)
    const committed = await events(node, `image/docker.io/library/${subject}`)
    assert.equal(committed.filter(({ type }) => type === 'image.committed').length, 1)
    const sizes = await node.cli('run', '--rm', subject, 'stat', '-c', '%s', '/large')
    assert.equal(sizes.stdout, `${48 * 2 ** 20}\n`, sizes.stderr)
    const { json } = await node.http('GET', '/v1/containers/c1')
    assert.equal(z.object({ status: z.string() }).parse(json).status, 'running')
    assert.deepEqual(await readdir(join(node.root, 'content/ingest')), [])
    await checkBooks(node)
  }
})
