import { collection } from '../../commands/collection.ts'
import { networkHolders } from '../../commands/network-holders.ts'
import type { Remains } from '../../network/networks.ts'
import { defineGcHandler } from './effects.ts'
import { findGarbage } from './mark.ts'
import { sweep } from './sweep.ts'

export const collectGarbage = defineGcHandler(collection, 'gc.collect', async (job) => {
  const begunAt = performance.now()
  const { networks } = job.effects
  const holders = networkHolders(job.view)
  if (job.payload.mode === 'dry-run') {
    const garbage = findGarbage(job.view).map(({ kind, namespace, id }) => ({ kind, namespace, id }))
    return { facts: [], result: { garbage: [...garbage, ...told(await networks.remains(holders))] } }
  }
  await job.append(...job.decide())
  const swept = { ...(await sweep(job)), networkCount: await networks.reconcile(holders) }
  const durationMs = Math.round(performance.now() - begunAt)
  return { facts: [collection.fact('node', 'gc.collected', { ...swept, durationMs })], result: { ...swept } }
})

const told = ({ containers, namespaces, leases }: Remains) => [
  ...containers.map(({ namespace, id }) => ({ kind: 'attachment', namespace, id })),
  ...namespaces.map((path) => ({ kind: 'network-namespace', path })),
  ...leases.map((path) => ({ kind: 'address', path })),
]
