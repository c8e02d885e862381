import assert from 'node:assert/strict'
import { test } from 'node:test'
import { containerOptions } from '../../../src/oci/spec/container-options.ts'
import { type Happening, NOW, Past } from '../../support/commands.ts'
import { knownEvents, readGolden } from '../../support/golden.ts'

/** Data of the present version of a type, with some fields of the test's own. */
function like(type: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  const version = knownEvents().find((each) => each.type === type)?.schema.version
  const found = readGolden().find(({ event }) => event.type === type && event.schema === version)
  assert.ok(found, type)
  return { ...found.event.data, ...more }
}

const ALPINE = 'docker.io/library/alpine:3.20'
const LAYER = `sha256:${'1'.repeat(64)}`
const containerCreated: Happening = { type: 'container.created', data: like('container.created', { image: ALPINE }) }
const containerGone: Happening[] = [{ type: 'container.deleting' }, { type: 'container.deleted' }]
const imagePulled: Happening = { type: 'image.pulled', data: like('image.pulled'), id: ALPINE }
const provision = { image: 'alpine' }

const snapshot = (type: string, id: string, data: Record<string, unknown> = {}): Happening => ({ type, id, data })
const preparing = (id: string, parent?: string, kind = 'active') =>
  snapshot('snapshot.preparing', id, { dir: 'd1', kind, labels: {}, ...(parent === undefined ? {} : { parent }) })
const committed = (id: string, parent?: string) =>
  snapshot('snapshot.committed', id, { dir: 'd2', labels: {}, ...(parent === undefined ? {} : { parent }) })

test('a container name is taken once, and free again when its container is gone', () => {
  const past = new Past(containerCreated)
  const record = like('container.created', { options: containerOptions.parse({}) })
  for (const [type, payload] of [
    ['container.create', record],
    ['container.provision', provision],
    ['container.run', provision],
  ] as const) {
    assert.equal(past.ask(type, payload), 'already_exists', type)
    assert.ok(Array.isArray(past.ask(type, payload, 'c1', 'elsewhere')), `${type} in another namespace`)
  }
  past.happens({ type: 'container.deleting' })
  assert.equal(past.ask('container.create', record), 'already_exists', 'until it is gone')
  past.happens({ type: 'container.deleted' })
  assert.deepEqual(past.ask('container.create', record), ['container.created'])
})

test('what needs a container is refused for one that never was, or is gone', () => {
  for (const past of [new Past(), new Past(containerCreated, ...containerGone)]) {
    for (const type of ['container.start', 'container.stop', 'container.remove', 'container.delete']) {
      assert.equal(past.ask(type), 'not_found', type)
    }
  }
})

test('a network is taken once, its subnet on the whole node, and it stays while a container uses it', () => {
  const data = like('network.created', { subnet: '10.89.0.0/24', gateway: '10.89.0.1' })
  const past = new Past({ type: 'network.created', data, id: 'blue' })
  assert.equal(past.ask('network.create', {}, 'blue'), 'already_exists')
  assert.deepEqual(past.ask('network.create', {}, 'blue', 'elsewhere'), ['network.created'])
  assert.equal(past.ask('network.create', { subnet: '10.89.0.128/25' }, 'red', 'elsewhere'), 'already_exists')
  assert.deepEqual(past.ask('network.create', { subnet: '10.89.1.0/24' }, 'red'), ['network.created'])
  assert.equal(past.ask('network.create', { subnet: '10.89.1.0/24', gateway: '10.89.2.1' }, 'red'), 'invalid_argument')
  assert.equal(past.ask('network.create', { gateway: '10.89.2.1' }, 'red'), 'invalid_argument')
  assert.equal(past.ask('network.create', { gateway6: 'fd00:89::1' }, 'red'), 'invalid_argument')
  assert.equal(past.ask('network.create', { subnet6: 'fd00:89::/48' }, 'red'), 'already_exists')
  assert.deepEqual(past.ask('network.remove', {}, 'blue'), ['network.removing'])
  const options = containerOptions.parse({ network: 'red', moreNetworks: ['blue'] })
  past.happens({ type: 'container.created', data: like('container.created', { options }) })
  assert.equal(past.ask('network.remove', {}, 'blue'), 'failed_precondition')
})

test('a container with a task is not deleted', () => {
  const creating: Happening = { type: 'task.creating', data: { runtime: 'runc' } }
  const past = new Past(containerCreated, creating)
  assert.equal(past.ask('container.delete'), 'failed_precondition')
  past.happens({ type: 'task.deleted' })
  assert.deepEqual(past.ask('container.delete'), ['container.deleting'])
})

test('a command is cancelled once, and not after its end', () => {
  const id = '01890000-0000-7000-8000-000000000001'
  const cancel = (past: Past) => past.ask('command.cancel', {}, id)
  const accepted: Happening = { type: 'command.accepted', id, data: like('command.accepted') }
  assert.equal(cancel(new Past()), 'not_found')
  const past = new Past(accepted)
  assert.deepEqual(cancel(past), ['command.cancel-requested'])
  past.happens({ type: 'command.cancel-requested', id })
  assert.deepEqual(cancel(past), [], 'asked for already')
  past.happens({ type: 'command.started', id, data: { attempt: 1, worker: 'task' } })
  assert.deepEqual(cancel(past), [], 'a worker has begun it meanwhile')
  for (const type of ['command.succeeded', 'command.failed', 'command.cancelled']) {
    const ended = new Past(accepted, { type, id, data: like(type) })
    assert.equal(cancel(ended), 'failed_precondition', type)
  }
})

test('a command has one outcome: the first', () => {
  const id = '01890000-0000-7000-8000-000000000001'
  const outcomes = ['command.succeeded', 'command.failed', 'command.cancelled']
  for (const first of outcomes) {
    const past = new Past({ type: 'command.accepted', id, data: like('command.accepted') })
    const before = past.happens({ type: first, id, data: like(first) }).state('command', id)
    assert.equal(`command.${before.status}`, first)
    past.happens({ type: 'command.started', id, data: { attempt: 9, worker: 'task' } })
    past.happens({ type: 'command.cancel-requested', id })
    for (const later of outcomes) past.happens({ type: later, id, data: like(later) })
    assert.deepEqual(past.state('command', id), before)
  }
})

test('attempts are counted and the first start is kept', () => {
  const id = '01890000-0000-7000-8000-000000000001'
  const past = new Past({ type: 'command.accepted', id, data: like('command.accepted') })
  for (const attempt of [1, 2, 3]) past.happens({ type: 'command.started', id, data: { attempt, worker: 'task' } })
  const { status, attempts, startedAt } = past.state('command', id)
  assert.deepEqual([status, attempts, startedAt], ['running', 3, NOW])
})

test('an image that a container uses is deleted only when that is allowed', () => {
  const past = new Past(imagePulled, containerCreated)
  assert.equal(past.ask('image.delete', {}, ALPINE), 'failed_precondition')
  assert.deepEqual(past.ask('image.delete', { inUse: 'allow' }, ALPINE), ['image.deleted'])
  for (const each of containerGone) past.happens(each)
  assert.deepEqual(past.ask('image.delete', {}, ALPINE), ['image.deleted'])
  past.happens({ type: 'image.deleted', id: ALPINE })
  assert.equal(past.ask('image.delete', {}, ALPINE), 'not_found')
  assert.equal(past.ask('image.delete', { inUse: 'allow' }, ALPINE), 'not_found')
})

test('a container of another namespace does not hold an image', () => {
  const past = new Past(imagePulled, { ...containerCreated, namespace: 'elsewhere' })
  assert.deepEqual(past.ask('image.delete', {}, ALPINE), ['image.deleted'])
})

test('an image is tagged with what its source is, and a tag of nothing is refused', () => {
  const past = new Past(imagePulled)
  assert.equal(past.ask('image.tag', { source: 'busybox' }, 'docker.io/library/mine:latest'), 'not_found')
  const decision = past.decide('image.tag', { source: 'alpine:3.20' }, 'docker.io/library/mine:latest')
  assert.ok(!('refused' in decision))
  past.happens({
    type: 'image.tagged',
    id: 'docker.io/library/mine:latest',
    data: decision[0]?.data as Record<string, unknown>,
  })
  assert.deepEqual(past.state('image', 'docker.io/library/mine:latest'), past.state('image', ALPINE))
})

test('an image that is pulled again keeps the moment of its first pull', () => {
  const past = new Past(imagePulled)
  const { createdAt } = past.state('image', ALPINE)
  assert.equal(past.happens(imagePulled).state('image', ALPINE).createdAt, createdAt)
})

test('a snapshot needs a parent that is there and committed', () => {
  const past = new Past(preparing('overlayfs/p'))
  const ask = (parent: string) => past.ask('snapshot.prepare', { parent }, 'overlayfs/c1')
  assert.equal(ask('nothing'), 'not_found')
  assert.equal(ask('p'), 'failed_precondition')
  past.happens(committed('overlayfs/p'))
  assert.deepEqual(ask('p'), ['snapshot.preparing'])
  assert.equal(past.ask('snapshot.prepare', { parent: 'p' }, 'native/c1'), 'not_found', 'of another snapshotter')
})

test('a snapshot key is taken once', () => {
  for (const type of ['snapshot.prepare', 'snapshot.view']) {
    assert.equal(new Past(preparing('overlayfs/c1')).ask(type, {}, 'overlayfs/c1'), 'already_exists')
    assert.equal(new Past(committed('overlayfs/c1')).ask(type, {}, 'overlayfs/c1'), 'already_exists')
  }
})

test('an active snapshot is committed, to a free name, and no other is', () => {
  const commit = (past: Past) => past.ask('snapshot.commit', { name: 'done' }, 'overlayfs/c1')
  const prepared = snapshot('snapshot.prepared', 'overlayfs/c1')
  assert.ok(Array.isArray(commit(new Past(preparing('overlayfs/c1'), prepared))))
  assert.equal(commit(new Past(preparing('overlayfs/c1'))), 'failed_precondition', 'not prepared yet')
  assert.equal(
    commit(new Past(preparing('overlayfs/c1', undefined, 'view'), prepared)),
    'failed_precondition',
    'a view',
  )
  assert.equal(commit(new Past(committed('overlayfs/c1'))), 'failed_precondition', 'committed already')
  assert.equal(
    commit(new Past(preparing('overlayfs/c1'), prepared, committed('overlayfs/done'))),
    'already_exists',
    'the name is taken',
  )
  assert.equal(commit(new Past()), 'not_found')
})

test('a snapshot that another one stands on is not removed', () => {
  const past = new Past(committed(`overlayfs/${LAYER}`), preparing('overlayfs/c1', LAYER))
  assert.equal(past.ask('snapshot.remove', {}, `overlayfs/${LAYER}`), 'failed_precondition')
  past.happens(snapshot('snapshot.removed', 'overlayfs/c1'))
  assert.deepEqual(past.ask('snapshot.remove', {}, `overlayfs/${LAYER}`), ['snapshot.removing'])
  assert.equal(past.ask('snapshot.remove', {}, 'overlayfs/c1'), 'not_found')
})

test('a blob that comes again is the same record, in use by whom it came for', () => {
  const digest = `sha256:${'2'.repeat(64)}`
  const data = { sizeBytes: 1, mediaType: 'a/b', labels: { a: 'b' } }
  const [first, second] = ['01890000-0000-7000-8000-000000000001', '01890000-0000-7000-8000-000000000002'] as const
  const past = new Past({ type: 'content.committed', id: digest, data, commandid: first })
  const before = past.state('content', digest)
  past.happens({ type: 'content.committed', id: digest, data: { ...data, labels: {} }, commandid: second })
  assert.deepEqual(past.state('content', digest), { ...before, by: second })
  past.happens({ type: 'content.deleted', id: digest })
  assert.equal(past.ask('content.delete', {}, digest), 'not_found')
})

test('a namespace is removed when it is empty', () => {
  const created: Happening = { type: 'namespace.created', id: 'n1', namespace: 'n1', data: { labels: {} } }
  const ask = (past: Past) => past.ask('namespace.remove', {}, 'n1', 'n1')
  assert.equal(ask(new Past()), 'not_found')
  assert.deepEqual(ask(new Past(created)), ['namespace.removed'])
  assert.equal(new Past(created).ask('namespace.create', {}, 'n1', 'n1'), 'already_exists')
  for (const each of [containerCreated, imagePulled, preparing('overlayfs/c1')]) {
    assert.equal(ask(new Past(created, { ...each, namespace: 'n1' })), 'failed_precondition', each.type)
    assert.deepEqual(ask(new Past(created, { ...each, namespace: 'other' })), ['namespace.removed'], each.type)
  }
})
