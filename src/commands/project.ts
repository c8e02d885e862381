import { z } from 'zod'
import { defineAggregate, type Refusal, refuse } from '../model/aggregate.ts'
import { event } from '../model/event-schema.ts'
import { identifier } from '../model/ids.ts'
import type { ContainerOptions } from '../oci/spec/container-options.ts'
import { networksOf } from '../oci/spec/network-mode.ts'
import { provision } from './container.ts'
import { GRACE_MS_MAX } from './life.ts'

/** Of each container of a project. */
export const PROJECT_LABEL = 'purser.io/project'

const CONTAINERS_MAX = 64

const name = identifier.max(40, 'a name within a project has 40 characters at most')

/** What has to hold of another container before one is started. */
const condition = z
  .enum(['started', 'healthy', 'completed'])
  .describe('it was started; its health check succeeds; it has ended with exit code 0')
export type Condition = z.output<typeof condition>

const part = z.strictObject({
  run: provision
    .omit({ onExit: true, sandbox: true })
    .describe("what its container is made from; its network is the project's own, which is also called default here"),
  dependsOn: z.record(name, condition).default({}).describe('what has to hold of which others before it is started'),
})
export type ProjectPart = z.output<typeof part>

const parts = z.record(name, part).refine((all) => {
  const count = Object.keys(all).length
  return count >= 1 && count <= CONTAINERS_MAX
}, `a project has 1 to ${CONTAINERS_MAX} containers`)

const spec = z.strictObject({ containers: parts })
export type ProjectSpec = z.output<typeof spec>

export type ProjectState =
  | { status: 'absent' }
  | ({
      status: 'starting' | 'up' | 'failed' | 'stopping'
      createdAt: string
      /** Why its last start failed. */
      error?: string
    } & ProjectSpec)

const absent = { status: 'absent' } as ProjectState

/** The container that a part of a project is run in. */
export const containerOfPart = (project: string, part: string): string => `${project}-${part}`

/** The network that the parts of a project have by themselves, where they ask for no other. */
export const networkOfProject = (project: string): string => `${project}_default`

/** How a part says that it is in that one, besides others. */
const OWN = 'default'

/** The options of a part's container: it is in the project's network unless it says otherwise, and known by the part's name. */
export function optionsOfPart(project: string, part: string, options: ContainerOptions): ContainerOptions {
  const named = (network: string) => (network === OWN ? networkOfProject(project) : network)
  const { network = OWN, moreNetworks, aliases = [] } = options
  const placed = {
    ...options,
    network: named(network),
    ...(moreNetworks === undefined ? {} : { moreNetworks: moreNetworks.map(named) }),
  }
  return networksOf(placed).length === 0 ? placed : { ...placed, aliases: [...aliases, { name: part }] }
}

/** Whether any of its parts is in the project's own network. */
export const hasOwnNetwork = (project: string, parts: Parts): boolean =>
  Object.entries(parts).some(([part, { run }]) =>
    networksOf(optionsOfPart(project, part, run.options)).includes(networkOfProject(project)),
  )

/** Containers that are started together, each when those that it depends on are as it needs them. */
export const project = defineAggregate({
  name: 'project',
  id: identifier.max(32, 'a project has 32 characters at most'),
  initial: absent,
  commands: {
    'project.up': spec
      .extend({
        onFailure: z
          .enum(['keep', 'remove'])
          .default('keep')
          .describe('what becomes of the containers when one of them does not come up'),
      })
      .describe('make and start its containers, in the order of what they depend on'),
    'project.down': z
      .strictObject({
        graceMs: z.int().nonnegative().max(GRACE_MS_MAX).optional().describe('of each stop, until SIGKILL follows'),
      })
      .describe('stop and remove its containers, in the order against what they depend on'),
  },
  leadsTo: {
    'project.up': [
      'project.starting',
      'network.create',
      'container.run',
      'container.start',
      'project.started',
      'project.start-failed',
      'container.remove',
      'network.remove',
      'project.removed',
    ],
    'project.down': ['project.stopping', 'container.stop', 'container.remove', 'network.remove', 'project.removed'],
  },
  events: {
    'project.starting': event(
      7,
      'its containers are about to be made and started',
      spec,
      (data) => data, // Version 2 may bound what is written beside the image.
      (data) => data, // Version 3 may mount files of other images.
      (data) => data, // Version 4 may say what becomes of their output.
      (data) => data, // Version 5 may have more names in its networks.
      (data) => data, // Version 6 may leave ports to be chosen, and have an IPv6 address.
      (data) => data, // Version 7 may say what is done about what is unhealthy.
    ),
    'project.started': event(1, 'all of its containers were started', z.strictObject({})),
    'project.start-failed': event(
      1,
      'not all of its containers could be started',
      z.strictObject({ error: z.string() }),
    ),
    'project.stopping': event(1, 'its containers are about to be stopped and removed', z.strictObject({})),
    'project.removed': event(1, 'its containers are gone', z.strictObject({})),
  },
  decide(state, { type, namespace, subject, payload }) {
    switch (type) {
      case 'project.up': {
        const { containers } = payload
        const wrong = wrongDependency(containers)
        if (wrong) return wrong
        if (state.status !== 'absent' && !isSame(state.containers, containers)) {
          return refuse(
            'failed_precondition',
            `project ${subject} is ${state.status} with other containers in namespace ${namespace}`,
            `purser down ${subject} first, or give another name`,
          )
        }
        return [{ type: 'project.starting', data: { containers } }]
      }
      case 'project.down':
        if (state.status !== 'absent') return [{ type: 'project.stopping', data: {} }]
        return refuse('not_found', `project ${subject} is not in namespace ${namespace}`, 'purser up makes one')
    }
  },
  evolve(state, event): ProjectState {
    switch (event.type) {
      case 'project.starting': {
        const createdAt = state.status === 'absent' ? event.time : state.createdAt
        return { status: 'starting', createdAt, ...event.data }
      }
      case 'project.started':
        return state.status === 'absent' ? state : { ...state, status: 'up' }
      case 'project.start-failed':
        return state.status === 'absent' ? state : { ...state, status: 'failed', error: event.data.error }
      case 'project.stopping':
        return state.status === 'absent' ? state : { ...state, status: 'stopping' }
      case 'project.removed':
        return absent
    }
  },
})

type Parts = ProjectSpec['containers']

/** A dependency on nothing, on something that never holds, or of a container on itself. */
function wrongDependency(containers: Parts): Refusal | undefined {
  for (const [from, { dependsOn }] of Object.entries(containers)) {
    for (const [to, condition] of Object.entries(dependsOn)) {
      const field = `containers.${from}.dependsOn.${to}`
      if (!Object.hasOwn(containers, to)) {
        const names = Object.keys(containers).join(', ')
        return refuse(
          'invalid_argument',
          `${field}: there is no container ${to} in the project`,
          `name one of ${names}`,
        )
      }
      const policy = containers[to]?.run.restart?.policy
      if (condition === 'completed' && (policy === 'always' || policy === 'unless-stopped')) {
        return refuse(
          'invalid_argument',
          `${field}: ${to} is never completed, for its restart policy is ${policy}`,
          'give it another policy, or wait for it to be started or healthy',
        )
      }
    }
  }
  const circle = circleIn(containers)
  if (circle === undefined) return undefined
  return refuse(
    'invalid_argument',
    `containers depend on each other in a circle: ${circle.join(' → ')}`,
    'take one of these dependencies away',
  )
}

function circleIn(containers: Parts): string[] | undefined {
  const done = new Set<string>()
  const visit = (name: string, trail: readonly string[]): string[] | undefined => {
    const at = trail.indexOf(name)
    if (at >= 0) return [...trail.slice(at), name]
    if (done.has(name)) return undefined
    for (const next of Object.keys(containers[name]?.dependsOn ?? {})) {
      const circle = visit(next, [...trail, name])
      if (circle) return circle
    }
    done.add(name)
    return undefined
  }
  for (const name of Object.keys(containers)) {
    const circle = visit(name, [])
    if (circle) return circle
  }
  return undefined
}

/** Sealed anew, a value is another text each time: which one it stands for cannot be told. */
const isSame = (a: Parts, b: Parts): boolean => textOf(a) === textOf(b)

const textOf = (parts: Parts): string =>
  JSON.stringify(parts, (_, value: unknown) =>
    typeof value === 'string' ? value.replace(/^([^=]+=sealed:v1:).*$/s, '$1') : value,
  )
