import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { startNode, type TestNode } from './daemon.ts'
import { events } from './faults.ts'
import { startProxy } from './proxy.ts'
import { type PushedImage, type PushImageRequest, startRegistry, type TestRegistry, tarLayer } from './registry.ts'

export type Proxy = Awaited<ReturnType<typeof startProxy>>

/** A node, a registry, and a server between them that lies as a test tells it to. */
export interface Pulls extends AsyncDisposable {
  node: TestNode
  registry: TestRegistry
  proxy: Proxy
  /** An image of its own: nothing of it is there already. `name` goes by the proxy. */
  push(given?: Partial<PushImageRequest>): Promise<PushedImage & { name: string }>
  /** It succeeds, and the image is there. */
  succeeds(name: string): Promise<void>
  /** It fails with this exit status and one line that says so; no image, and after a collection no byte, is left of it. */
  fails(name: string, exitCode: number, says: RegExp): Promise<void>
  /** Who was asked for an image by its last pull: `host status reason`. */
  attempts(name: string): Promise<string[]>
}

export async function startPulls(config = ''): Promise<Pulls> {
  await using starting = new AsyncDisposableStack()
  const registry = starting.use(await startRegistry())
  const proxy = starting.use(await startProxy(registry.address))
  const node = starting.use(await startNode({ config }))
  const all = starting.move()
  let pushed = 0

  const pull = (name: string) => node.cli('pull', '-q', name)
  const imageNames = async (): Promise<string[]> => {
    const images: { name: string }[] = JSON.parse((await node.cli('--format', 'json', 'images')).stdout)
    return images.map(({ name }) => name)
  }
  const stored = async (): Promise<string[]> => {
    const dirs = ['content/blobs/sha256', 'content/ingest', 'snapshotters/overlayfs/snapshots']
    const found = await Promise.all(dirs.map((dir) => readdir(join(node.root, dir)).catch(() => [])))
    return found.flat().sort()
  }
  return {
    node,
    registry,
    proxy,
    async push(given = {}) {
      const repository = `pulls/image${++pushed}`
      const layers = given.layers ?? [await tarLayer([{ name: 'file', content: `${repository} `.repeat(20_000) }])]
      const image = await registry.pushImage({ repository, tag: 'latest', ...given, layers })
      return { ...image, name: `${proxy.address}/${given.repository ?? repository}:latest` }
    },
    async succeeds(name) {
      const result = await pull(name)
      assert.equal(result.exitCode, 0, result.stderr)
      assert.ok((await imageNames()).includes(name))
    },
    async fails(name, exitCode, says) {
      assert.equal((await node.cli('gc')).exitCode, 0)
      const images = await imageNames()
      const before = await stored()
      const result = await pull(name)
      assert.equal(result.exitCode, exitCode, result.stderr)
      assert.match(result.stderr, says)
      assert.equal(result.stderr.trimEnd().split('\n').length, 1, result.stderr)
      assert.deepEqual(await imageNames(), images)
      assert.equal((await node.cli('gc')).exitCode, 0)
      assert.deepEqual(await stored(), before)
    },
    async attempts(name) {
      const event = (await events(node, `image/${name}`)).findLast(({ type }) => type === 'image.attempted')
      const list = event?.data.attempts as { host: string; status?: number; reason?: string; requests: number }[]
      return list.map(({ host, status, reason }) => `${host} ${status ?? 'none'} ${reason ?? ''}`.trimEnd())
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  }
}
