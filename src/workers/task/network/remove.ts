import { network } from '../../../commands/network.ts'
import { removeBridge } from '../../../network/bridge.ts'
import { defineTaskHandler } from '../effects.ts'

/** The bridge goes, then the record. */
export const removeNetwork = defineTaskHandler(network, 'network.remove', async (job) => {
  const { id, signal } = job
  if (job.state.status !== 'removing') await job.append(...job.decide())
  if (job.state.status !== 'absent') await removeBridge(job.state.bridge, signal)
  return { facts: [network.fact(id, 'network.removed', {})], result: { subject: id } }
})
