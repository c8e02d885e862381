import { randomBytes } from 'node:crypto'
import { startNode } from '../../test/support/daemon.ts'
import { type PushedImage, startRegistry, tarLayer } from '../../test/support/registry.ts'
import { Api } from '../support/purser.ts'
import { startRelay } from '../support/relay.ts'
import type { Found } from '../support/scenario.ts'
import { inPairs, median, timed } from '../support/statistics.ts'
import { pullWithContainerd, pullWithPurser, TMPFS } from './sides.ts'

const ROUNDS = 3
const IMAGES = 10
const CALLERS = 50
const FILE_BYTES = 12 << 20

/** Many images at once, and many callers of one. */
export async function crowds(): Promise<Found> {
  await using registry = await startRegistry()
  const images: PushedImage[] = []
  for (let at = 0; at < IMAGES; at++) {
    const layers = await Promise.all(
      [0, 1].map((file) => tarLayer([{ name: `file${file}`, content: textLike(FILE_BYTES) }])),
    )
    images.push(await registry.pushImage({ repository: `crowd${at}`, tag: 'latest', layers }))
  }
  const references = images.map(({ reference }) => reference)
  const ten = await inPairs(ROUNDS, {
    purser: () => pullWithPurser(TMPFS, references),
    containerd: () => pullWithContainerd(TMPFS, references),
  })

  const [image] = images
  const sizeBytes = image?.layers.reduce((sum, layer) => sum + layer.size, 0) ?? 0
  await using relay = await startRelay(registry.address)
  const name = image?.reference.replace(registry.address, relay.address) ?? ''
  await using node = await startNode({ parent: TMPFS })
  const durationMs = await timed(() =>
    Promise.all(
      Array.from({ length: CALLERS }, async (_, caller) => {
        using api = new Api(node)
        // Namespaces of their own, or they would only wait in one line.
        const headers = { prefer: 'wait=120', 'purser-namespace': `caller${caller % 10}` }
        const [status, body] = await api.ask('POST', '/v1/commands', { type: 'image.pull', subject: name }, headers)
        if (status !== 200) throw new Error(body)
      }),
    ),
  )
  return {
    method: `Crowds: ${IMAGES} different images of two layers at once, each by a command of its own, on tmpfs, ${ROUNDS} pairs. One image asked for by ${CALLERS}
callers in 10 namespaces at once: bytes that came from the registry, headers among them, as a share of the image's.`,
    measures: [
      {
        what: `${IMAGES} different images at once`,
        unit: 'ms',
        purser: median(ten.purser),
        containerd: median(ten.containerd),
        ratio: ten.ratio,
      },
      {
        what: `one image for ${CALLERS} callers: bytes from the registry as a share of one image's`,
        unit: 'share',
        purser: relay.bytes() / sizeBytes,
        budget: { atMost: 1.05 },
      },
    ],
    samples: { 'purser ten': ten.purser, 'containerd ten': ten.containerd, 'fifty callers': [durationMs] },
  }
}

/** Compresses to about half. */
function textLike(length: number): Buffer {
  return Buffer.from(randomBytes(length / 2).toString('hex'), 'latin1')
}
