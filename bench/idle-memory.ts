import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { startNode } from '../test/support/daemon.ts'
import { startContainerd } from './support/containerd.ts'
import { memoryOf } from './support/memory.ts'
import { writeResult } from './support/result.ts'
import { inPairs, median } from './support/statistics.ts'
import { workDir } from './support/work-dir.ts'

const ROUNDS = 3
/** The daemon gives memory back after some seconds without work. */
const SETTLE_MS = 15_000

await using work = await workDir()
const samples: Record<string, number[]> = { 'purser pss': [], 'daemon rss': [], 'redis rss': [], 'containerd pss': [] }
const pairs = await inPairs(ROUNDS, {
  async purser() {
    await using node = await startNode({ parent: work.path })
    await delay(SETTLE_MS)
    const daemon = await memoryOf(node.pid)
    const redis = await memoryOf(Number(await readFile(`${node.root}/redis/redis.pid`, 'utf8')))
    samples['daemon rss']?.push(daemon.rss)
    samples['redis rss']?.push(redis.rss)
    samples['purser pss']?.push(daemon.pss + redis.pss)
    return daemon.rss + redis.rss
  },
  async containerd() {
    await using containerd = await startContainerd(work.path)
    await delay(SETTLE_MS)
    const { rss, pss } = await memoryOf(containerd.pid)
    samples['containerd pss']?.push(pss)
    return rss
  },
})
writeResult('idle-memory', {
  title: 'Memory of an idle daemon',
  method: `A fresh daemon with nothing in it, ${SETTLE_MS / 1000} s after its start; daemon and its Redis together, beside containerd without
CRI; from smaps_rollup. Resident size counts a program's own pages in full, also those that other processes share. This
bench is a Node process too, so the proportional size counts half of the program. ${ROUNDS} pairs, after one that fills Node's compile cache.`,
  measures: [
    {
      what: 'idle daemon and embedded Redis, resident',
      unit: 'MiB',
      purser: median(pairs.purser),
      containerd: median(pairs.containerd),
      budget: { atMost: 150 },
    },
    {
      what: 'idle daemon and embedded Redis, proportional',
      unit: 'MiB',
      purser: median(samples['purser pss'] ?? []),
      containerd: median(samples['containerd pss'] ?? []),
    },
  ],
  samples: { 'purser rss': pairs.purser, 'containerd rss': pairs.containerd, ...samples },
})
