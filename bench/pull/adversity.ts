import { setTimeout as delay } from 'node:timers/promises'
import { startNode } from '../../test/support/daemon.ts'
import { ended, submitSurely } from '../../test/support/faults.ts'
import { pushBenchImage } from '../support/images.ts'
import { startRegistryBehindLink } from '../support/network.ts'
import { startRelay } from '../support/relay.ts'
import type { Found } from '../support/scenario.ts'
import { inPairs, median } from '../support/statistics.ts'
import { pullWithContainerd, pullWithPurser, TMPFS } from './sides.ts'

const ROUNDS = 2
const DELAY_MS = 10
/** Of multi:gzip. */
const COMPRESSED_BYTES = 264_719_741

/** A slow link, and a daemon that is killed in the middle. */
export async function adversity(): Promise<Found> {
  await using registry = await startRegistryBehindLink('100mbit')
  await pushBenchImage(registry.address, 'base:latest')
  await pushBenchImage(registry.address, 'multi:gzip')
  await registry.shape()
  await using relay = await startRelay(registry.address, DELAY_MS)
  const references = [`${relay.address}/bench/base:latest`]
  const link = await inPairs(ROUNDS, {
    purser: () => pullWithPurser(TMPFS, references),
    containerd: () => pullWithContainerd(TMPFS, references),
  })
  const again = await afterKill(registry.address)
  return {
    method: `Slow link: the registry in a network namespace behind a link of 100 Mbit/s (tc tbf), and a relay that holds up each piece for ${DELAY_MS} ms in
either direction (this kernel has no netem), on tmpfs, ${ROUNDS} pairs. Killed: SIGKILL once half of multi:gzip has come over the same link, through a relay that counts; the
restarted daemon ends the pull, and what came in all is more than the image by what was fetched again.`,
    measures: [
      {
        what: 'cold pull, base, over 100 Mbit/s with 20 ms',
        unit: 'ms',
        purser: median(link.purser),
        containerd: median(link.containerd),
        ratio: link.ratio,
      },
      {
        what: 'fetched again after kill -9 at half',
        unit: 'share',
        purser: again / COMPRESSED_BYTES,
        budget: { atMost: 0.05 },
      },
    ],
    samples: { 'purser slow link': link.purser, 'containerd slow link': link.containerd },
  }
}

/** @returns bytes that came twice */
async function afterKill(address: string): Promise<number> {
  await using relay = await startRelay(address)
  await using node = await startNode({ parent: TMPFS })
  const subject = `${relay.address}/bench/multi:gzip`
  const id = await submitSurely(node, { type: 'image.pull', subject }, AbortSignal.timeout(60_000))
  while (relay.bytes() < COMPRESSED_BYTES / 2) await delay(1)
  await node.kill9()
  node.start()
  await node.ready()
  const { status } = await ended(node, id)
  if (status !== 'succeeded') throw new Error(`the pull ${status}`)
  return relay.bytes() - COMPRESSED_BYTES
}
