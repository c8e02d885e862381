import { z } from 'zod'
import { container } from '../../commands/container.ts'
import { content } from '../../commands/content.ts'
import { image } from '../../commands/image.ts'
import { namespace } from '../../commands/namespace.ts'
import { network } from '../../commands/network.ts'
import { project } from '../../commands/project.ts'
import { sandbox } from '../../commands/sandbox.ts'
import { snapshot, snapshotId } from '../../commands/snapshot.ts'
import { task } from '../../commands/task.ts'
import type { Documents } from '../../log/documents.ts'
import type { Entry, Kind } from '../../model/aggregate.ts'
import { PurserError } from '../../model/errors.ts'
import { type Labels, labelMatches } from '../../model/labels.ts'
import { parse } from '../../model/parse.ts'
import {
  containerView,
  contentView,
  imageView,
  namespaceView,
  networkView,
  projectView,
  sandboxView,
  snapshotView,
  taskView,
} from '../../projections/views.ts'
import { containerId } from './container-id.ts'
import { keyOfCursor, pageOf, paging } from './pages.ts'
import { type Answer, type Call, defineRoute, many, noQuery, type Resource } from './route.ts'
import * as schemas from './schemas.ts'
import { pageText, ShownTexts } from './shown-texts.ts'
import { firstFrom } from './sorted-ids.ts'

type Present<S extends { status: string }> = Exclude<S, { status: 'absent' }>

/** How the entries of one aggregate are shown. */
interface Shown<S extends { status: string }> {
  of: Kind<S>
  view(entry: Entry<Present<S>>, documents: Documents): object
  /** Another state that the view depends on. */
  also?(entry: Entry<Present<S>>, documents: Documents): unknown
  labels(entry: Entry<Present<S>>, documents: Documents): Labels
}

const labelsOf = ({ state }: { state: { labels: Labels } }): Labels => state.labels
const labelsOfContainer = ({ namespace, id }: Entry<unknown>, documents: Documents): Labels => {
  const state = documents.get(container, namespace, id)
  return state.status === 'absent' ? {} : state.labels
}

const taskOf = ({ namespace, id }: Entry<unknown>, documents: Documents) => documents.get(task, namespace, id)
const shownContainer: Shown<typeof container.initial> = {
  of: container,
  view: (entry, documents) => containerView(entry, taskOf(entry, documents)),
  also: taskOf,
  labels: labelsOf,
}
const shownContent: Shown<typeof content.initial> = { of: content, view: contentView, labels: labelsOf }
const shownImage: Shown<typeof image.initial> = { of: image, view: imageView, labels: labelsOf }
const shownNamespace: Shown<typeof namespace.initial> = { of: namespace, view: namespaceView, labels: labelsOf }
const shownNetwork: Shown<typeof network.initial> = { of: network, view: networkView, labels: labelsOf }
const shownProject: Shown<typeof project.initial> = { of: project, view: projectView, labels: () => ({}) }
const shownSandbox: Shown<typeof sandbox.initial> = {
  of: sandbox,
  view: sandboxView,
  labels: ({ state: { made } }) => made.labels,
}
const shownSnapshot: Shown<typeof snapshot.initial> = { of: snapshot, view: snapshotView, labels: labelsOf }
const shownTask: Shown<typeof task.initial> = { of: task, view: taskView, labels: labelsOfContainer }

const listQuery = z.strictObject({
  ...paging,
  label: many(z.string().min(1).max(4096)).describe('k, k=v or k!=v; all must hold'),
})

function entryOf<S extends { status: string }>(
  documents: Documents,
  of: Kind<S>,
  namespace: string,
  id: string,
): Entry<Present<S>> | undefined {
  const { version, state } = documents.read(of.name, namespace, id)
  // Documents hold only what exists.
  return version === 0 ? undefined : { namespace, id, version, state: state as Present<S> }
}

/** A page of what is there, in the order of ids. */
function page<S extends { status: string }>(
  { services, ids, query, namespace }: Call<unknown, z.output<typeof listQuery>>,
  { of, view, also, labels }: Shown<S>,
): Answer {
  const { documents } = services.log
  const isNamespaces = of.name === 'namespace' // Each of those is kept within itself.
  const all = ids.of(of.name, isNamespaces ? undefined : namespace)
  const from = query.cursor === undefined ? 0 : firstFrom(all, `${keyOfCursor(query.cursor)}\0`)
  const found = pageOf(idsFrom(all, from), query.limit, (id) => {
    const entry = entryOf(documents, of, isNamespaces ? id : namespace, id)
    if (!entry) return undefined
    if (query.label.length > 0) {
      const labelled = labels(entry, documents)
      if (!query.label.every((selector) => labelMatches(labelled, selector))) return undefined
    }
    return texts.of(entry, also?.(entry, documents), () => view(entry, documents))
  })
  const body = pageText(found)
  return { status: 200, body, headers: { 'content-type': 'application/json; charset=utf-8' } }
}

const texts = new ShownTexts()

function* idsFrom(ids: readonly string[], from: number): Iterable<string> {
  for (let at = from; at < ids.length; at++) yield ids[at] ?? ''
}

/** @throws PurserError not_found */
function one<S extends { status: string }>(
  { services: { log } }: Call,
  { of, view }: Shown<S>,
  namespace: string,
  id: string,
  remedy: string,
): Answer {
  const entry = entryOf(log.documents, of, namespace, id)
  if (entry) return { status: 200, body: view(entry, log.documents) }
  const where = of.name === 'namespace' ? 'not known' : `not in namespace ${namespace}`
  throw new PurserError('not_found', `${of.name} ${id} is ${where}`, { remedy })
}

const listRoute = <Path extends string, S extends { status: string }>(path: Path, shown: Shown<S>, item: z.ZodType) =>
  defineRoute({
    method: 'GET',
    path,
    summary: `What there is of ${shown.of.name}, in the order of ids`,
    scope: shown.of.name === 'namespace' ? 'node' : 'namespace',
    query: listQuery,
    answers: { 200: { description: 'a page', schema: schemas.pageOf(item) } },
    handle: async (call) => page(call, shown),
  })

export const records: Resource = {
  name: 'records',
  routes: [
    listRoute('/v1/containers', shownContainer, schemas.containerSchema),
    listRoute('/v1/content', shownContent, schemas.contentSchema),
    listRoute('/v1/images', shownImage, schemas.imageSchema),
    listRoute('/v1/namespaces', shownNamespace, schemas.namespaceSchema),
    listRoute('/v1/networks', shownNetwork, schemas.networkSchema),
    listRoute('/v1/projects', shownProject, schemas.projectSchema),
    listRoute('/v1/sandboxes', shownSandbox, schemas.sandboxSchema),
    listRoute('/v1/snapshots', shownSnapshot, schemas.snapshotSchema),
    listRoute('/v1/tasks', shownTask, schemas.taskSchema),
    defineRoute({
      method: 'GET',
      path: '/v1/containers/{id}',
      summary: 'A container, by its id or a unique beginning of it',
      scope: 'namespace',
      query: noQuery,
      answers: { 200: { description: 'the container', schema: schemas.containerSchema } },
      handle: async (call) =>
        one(call, shownContainer, call.namespace, containerId(call, call.params.id), 'purser ps -a lists them'),
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/content/{digest}',
      summary: "A blob's record",
      scope: 'namespace',
      query: noQuery,
      answers: { 200: { description: 'the record', schema: schemas.contentSchema } },
      handle: async (call) => {
        const digest = parse(content.id, call.params.digest, 'digest')
        return one(call, shownContent, call.namespace, digest, 'GET /v1/content lists what is stored')
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/images/{name}',
      summary: 'An image, by any name that docker understands, percent-encoded',
      scope: 'namespace',
      query: noQuery,
      answers: { 200: { description: 'the image', schema: schemas.imageSchema } },
      handle: async (call) => {
        const name = parse(image.id, call.params.name, 'name')
        return one(call, shownImage, call.namespace, name, `purser pull ${name}`)
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/namespaces/{name}',
      summary: 'A namespace',
      scope: 'node',
      query: noQuery,
      answers: { 200: { description: 'the namespace', schema: schemas.namespaceSchema } },
      handle: async (call) => {
        const name = parse(namespace.id, call.params.name, 'name')
        return one(call, shownNamespace, name, name, 'purser namespace ls')
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/networks/{name}',
      summary: 'A network that was made here',
      scope: 'namespace',
      query: noQuery,
      answers: { 200: { description: 'the network', schema: schemas.networkSchema } },
      handle: async (call) => {
        const name = parse(network.id, call.params.name, 'name')
        return one(call, shownNetwork, call.namespace, name, 'purser network ls')
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/projects/{name}',
      summary: 'A project: containers that were started together',
      scope: 'namespace',
      query: noQuery,
      answers: { 200: { description: 'the project', schema: schemas.projectSchema } },
      handle: async (call) => {
        const name = parse(project.id, call.params.name, 'name')
        return one(call, shownProject, call.namespace, name, 'purser project ls')
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/sandboxes/{id}',
      summary: 'A sandbox',
      scope: 'namespace',
      query: noQuery,
      answers: { 200: { description: 'the sandbox', schema: schemas.sandboxSchema } },
      handle: async (call) => {
        const id = parse(sandbox.id, call.params.id, 'id')
        return one(call, shownSandbox, call.namespace, id, 'purser sandbox ls lists them')
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/snapshots/{snapshotter}/{key}',
      summary: 'A snapshot; its key is percent-encoded',
      scope: 'namespace',
      query: noQuery,
      answers: { 200: { description: 'the snapshot', schema: schemas.snapshotSchema } },
      handle: async (call) => {
        const id = parse(snapshot.id, snapshotId(call.params.snapshotter, call.params.key), 'key')
        return one(call, shownSnapshot, call.namespace, id, 'GET /v1/snapshots lists them')
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/tasks/{id}',
      summary: 'The task of a container, by its id or a unique beginning of it',
      scope: 'namespace',
      query: noQuery,
      answers: { 200: { description: 'the task', schema: schemas.taskSchema } },
      handle: async (call) => {
        const id = containerId(call, call.params.id)
        return one(call, shownTask, call.namespace, id, `purser start ${id}`)
      },
    }),
  ],
}
