import { setTimeout as delay } from 'node:timers/promises'
import { startNode } from '../test/support/daemon.ts'
import { Api } from './support/purser.ts'
import { writeResult } from './support/result.ts'
import { median, timed } from './support/statistics.ts'
import { workDir } from './support/work-dir.ts'

const STARTS = 5
const LISTS = 20
const AT_ONCE = 64
const PAGE = 1000
const COUNT = 10_000
const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`

await using work = await workDir()
await using node = await startNode({ parent: work.path, expectLeftovers: true }) // Removing its records one by one takes long.

async function createUpTo(from: number, to: number): Promise<void> {
  using api = new Api(node)
  let at = from
  const caller = async () => {
    while (at < to) {
      await api.execute('container.create', `c${String(at++).padStart(6, '0')}`, {
        image: 'docker.io/library/busybox:latest',
        manifest: DIGEST,
        config: DIGEST,
        snapshotter: 'overlayfs',
        snapshotKey: `c${at}`,
        runtime: 'runc',
        options: { args: ['sh', '-c', 'echo hello'], env: ['A=1', 'B=2'] },
        labels: { app: 'bench', number: String(at) },
        onExit: 'keep',
      })
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, caller))
}

async function starts(): Promise<number[]> {
  const times: number[] = []
  for (let at = 0; at < STARTS; at += 1) {
    await node.stop()
    times.push(await timed(() => node.restart()))
  }
  return times
}

/** All of the list, in pages. */
async function list(api: Api): Promise<string[]> {
  const bodies: string[] = []
  let cursor: string | undefined
  do {
    const query = new URLSearchParams({ limit: String(PAGE), ...(cursor === undefined ? {} : { cursor }) })
    const [, body] = await api.ask('GET', `/v1/containers?${query}`)
    bodies.push(body)
    cursor = /"next":"([^"]*)"}$/.exec(body.slice(-4096))?.[1]
  } while (cursor !== undefined)
  return bodies
}

async function listAndParse(api: Api): Promise<void> {
  const pages: { items: unknown[] }[] = (await list(api)).map((body) => JSON.parse(body))
  const found = pages.reduce((sum, { items }) => sum + items.length, 0)
  if (found !== COUNT) throw new Error(`the list has ${found} containers, not ${COUNT}`)
}

const empty = await starts()
await createUpTo(0, 1000)
const thousand = await starts()
await createUpTo(1000, COUNT)
using api = new Api(node)
const lists: number[] = []
const parsed: number[] = []
for (let at = -5; at < LISTS; at += 1) {
  const alone = await timed(() => list(api))
  await delay(20) // Not one long burst: the collector runs between lists, as it would.
  const withParsing = await timed(() => listAndParse(api))
  await delay(20)
  if (at < 0) continue
  lists.push(alone)
  parsed.push(withParsing)
}
const tenThousand = await starts()
await node.kill9() // Its Redis ends with the disposal.

writeResult('records', {
  title: 'Starts and lists with many containers',
  method: `A daemon on disk with container records, made by container.create over HTTP; they have no task. Ready: from the start of
the process until GET /readyz answers 200, asked every 20 ms, ${STARTS} times. List: all of GET /v1/containers over one connection, in pages of
${PAGE}, until the last byte has been read;
and with what a client spends on parsing it; ${LISTS} times after five.`,
  measures: [
    { what: 'ready, no containers', unit: 'ms', purser: median(empty) },
    { what: 'ready, 1,000 containers', unit: 'ms', purser: median(thousand), budget: { atMost: 2000 } },
    { what: 'ready, 10,000 containers', unit: 'ms', purser: median(tenThousand) },
    { what: 'list of 10,000 containers', unit: 'ms', purser: median(lists), budget: { atMost: 50 } },
    { what: 'list of 10,000 containers, parsed by the client', unit: 'ms', purser: median(parsed) },
  ],
  samples: {
    'ready, none': empty,
    'ready, 1000': thousand,
    'ready, 10000': tenThousand,
    'list 10000': lists,
    'list 10000, parsed': parsed,
  },
})
