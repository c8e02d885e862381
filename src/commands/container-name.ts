import { z } from 'zod'
import { defineAggregate, type Kind } from '../model/aggregate.ts'
import { event } from '../model/event-schema.ts'
import { identifier } from '../model/ids.ts'

export type ContainerNameState = { status: 'absent' } | { status: 'taken'; container: string }

const absent = { status: 'absent' } as ContainerNameState
export const containerNames: Kind<ContainerNameState> = { name: 'container-name', initial: absent }

/** A name that a container has been given later, besides its id: each is one container's, or nobody's. */
export const containerName = defineAggregate({
  name: 'container-name',
  id: identifier,
  initial: absent,
  commands: {},
  leadsTo: {},
  events: {
    'container-name.taken': event(1, 'a container is called so', z.strictObject({ container: z.string() })),
    'container-name.released': event(1, 'no container is called so any more', z.strictObject({})),
  },
  decide: () => [],
  evolve(_, { type, data }): ContainerNameState {
    return type === 'container-name.taken' ? { status: 'taken', container: data.container } : absent
  },
})
