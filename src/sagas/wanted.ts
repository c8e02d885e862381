import { type ContainerState, container } from '../commands/container.ts'
import { hasPolicy } from '../commands/restart.ts'
import type { Fact } from '../model/aggregate.ts'
import type { Saga } from './define.ts'

/** That a container with a restart policy was started by somebody: counting begins anew. */
export const startedFacts = ({ id, state }: Saga<ContainerState, unknown>): Fact[] =>
  state.status === 'absent' || !hasPolicy(state) ? [] : [container.fact(id, 'container.wanted', { running: true })]

/** Tells the restart policy of a container, where it has one, that its end is wanted: before it comes. */
export async function rest({ id, state, append }: Saga<ContainerState, unknown>): Promise<void> {
  if (state.status === 'absent' || !hasPolicy(state) || state.restarts?.wanted === false) return
  await append(container.fact(id, 'container.wanted', { running: false }))
}
