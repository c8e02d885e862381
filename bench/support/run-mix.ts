import { command } from '../../src/commands/command.ts'
import { container } from '../../src/commands/container.ts'
import { content } from '../../src/commands/content.ts'
import { image } from '../../src/commands/image.ts'
import { request } from '../../src/commands/request.ts'
import { snapshot, snapshotId } from '../../src/commands/snapshot.ts'
import { task } from '../../src/commands/task.ts'
import type { Fact } from '../../src/model/aggregate.ts'
import type { CommandEnvelope } from '../../src/model/command.ts'
import { type Cause, spontaneous } from '../../src/model/event.ts'
import { Chance } from './chance.ts'

/** What one append of a daemon writes. */
export interface MixAppend {
  namespace: string
  cause: Cause
  facts: readonly Fact[]
  /** Unix, milliseconds. */
  timeMs: number
}

const ACTORS = [
  'unix:uid=0,gid=0,pid=1402,exe=/usr/bin/node',
  'unix:uid=998,gid=998,pid=2210,exe=/usr/local/bin/runner',
  'unix:uid=1000,gid=1000,pid=77120,exe=/usr/bin/node',
]
const NAMESPACES = ['default', 'ci', 'k8s.io']
const REPOSITORIES = ['library/busybox', 'library/node', 'ci/build', 'ci/test', 'shop/web', 'shop/worker']
const SCRIPTS = ['npm ci && npm test', 'make -j4 check', 'exit 0', 'go test ./...', './deploy.sh staging', 'pytest -x']
const MEAN_GAP_MS = 40

/**
 * What a node that runs jobs writes into its log: of a hundred, 80 are `run --rm` of a cached image, 8 a service with an exec, a
 * stop and a removal, 5 fail, 4 pull first and 3 are refused; `AT_ONCE` are under way at a time. The shape of each was copied
 * from what a daemon wrote for the same commands. The same seed gives the same events.
 */
export function* runMix(
  seed: number,
  startMs: number,
  namespaces: readonly string[] = NAMESPACES,
): Generator<MixAppend> {
  const chance = new Chance(seed)
  const underWay: Generator<MixAppend>[] = []
  const clock = { nowMs: startMs }
  const tick = () => {
    clock.nowMs += chance.below(2 * MEAN_GAP_MS)
    return clock.nowMs
  }
  for (let number = 1; ; ) {
    while (underWay.length < AT_ONCE)
      underWay.push(new Job(chance, tick, `${seed}-${number++}`, chance.of(namespaces)).appends())
    const at = chance.below(AT_ONCE)
    const next = underWay[at]?.next()
    if (next === undefined || next.done) underWay.splice(at, 1)
    else yield next.value
  }
}

const AT_ONCE = 12

/** One container from its request to its end. */
class Job {
  readonly #chance: Chance
  readonly #tick: () => number
  readonly #id: string
  readonly #namespace: string
  readonly #actor: string
  readonly #image: string
  readonly #digest: string
  readonly #script: string
  readonly #dice: number

  constructor(chance: Chance, tick: () => number, number: string, namespace: string) {
    this.#chance = chance
    this.#tick = tick
    this.#namespace = namespace
    this.#actor = chance.of(ACTORS)
    this.#script = chance.of(SCRIPTS)
    const repository = chance.of(REPOSITORIES)
    this.#image = `registry.example.com/${repository}:${chance.below(8)}`
    this.#digest = digestLike(repository.length)
    this.#id = chance.below(2) === 0 ? chance.hex(12) : `job-${number}`
    this.#dice = chance.below(100)
  }

  *appends(): Generator<MixAppend> {
    if (this.#dice >= 97) return yield* this.#refused()
    const run = this.#envelope('container.run', this.#id, 'container', this.#options())
    yield this.#accepted(run)
    yield this.#started(run, 'saga')
    if (this.#dice >= 93) yield* this.#pull(run)
    yield* this.#prepare(run)
    yield* this.#create(run)
    yield* this.#step(run, 'task.create', 'task', 'task', [
      this.#task('task.creating', { runtime: 'runc' }),
      this.#task('task.created', { pid: this.#pid(), stopSignal: 15 }),
    ])
    const startedAt = new Date(this.#tick()).toISOString()
    yield* this.#step(run, 'task.start', 'task', 'task', [this.#task('task.started', { pid: this.#pid(), startedAt })])
    yield this.#ended(run, { id: this.#id })
    if (this.#dice >= 80 && this.#dice < 88) yield* this.#service()
    const exitCode = this.#dice >= 88 && this.#dice < 93 ? 1 + this.#chance.below(3) : 0
    const exitedAt = `${new Date(this.#tick()).toISOString().slice(0, -1)}${this.#chance.digits(6)}Z`
    yield this.#append(spontaneous('shim'), [this.#task('task.exited', { exitCode, exitedAt, oomKills: 0 })])
    yield this.#append(spontaneous('shim'), [this.#task('task.released', {})])
    yield* this.#remove()
  }

  *#refused(): Generator<MixAppend> {
    const asked = { method: 'POST', target: '/v1/commands', surface: 'http' }
    const message = `container ${this.#id} exists in namespace ${this.#namespace}`
    if (this.#dice === 97) {
      const data = { ...asked, code: 'invalid_argument', message: `payload.options.args: ${this.#id} is none` }
      yield this.#append({ commandId: '', correlationId: '', actor: this.#actor }, [
        { aggregate: request.name, id: this.#chance.uuidv7(this.#tick()), type: 'request.refused', data },
      ])
      return
    }
    const run = this.#envelope('container.run', this.#id, 'container', this.#options())
    yield this.#accepted(run)
    yield this.#started(run, 'saga')
    const error = { code: 'already_exists' as const, message, remedy: `choose another name, or purser rm ${this.#id}` }
    yield this.#of(run, [command.fact(run.id, 'command.failed', { error, durationMs: this.#duration() })])
  }

  *#pull(run: CommandEnvelope): Generator<MixAppend> {
    const pull = this.#envelope('image.pull', this.#image, 'image', { snapshotter: 'overlayfs', labels: {} }, run)
    const blob = { sizeBytes: 1000 + this.#chance.below(50_000_000), mediaType: LAYER, labels: {} }
    const target = { mediaType: MANIFEST, digest: this.#digest, sizeBytes: 1405 }
    yield this.#accepted(pull)
    yield this.#started(pull, 'pull')
    yield this.#of(pull, [this.#fact(image.name, this.#image, 'image.pulling', { platform: 'linux/amd64' })])
    yield this.#of(pull, [
      this.#fact(image.name, this.#image, 'image.resolved', { target, platform: 'linux/amd64' }),
      this.#fact(content.name, this.#digest, 'content.committed', { ...blob, mediaType: MANIFEST }),
    ])
    for (let layer = 0; layer < 3; layer += 1)
      yield this.#of(pull, [this.#fact(content.name, digestLike(layer + 40), 'content.committed', blob)])
    yield this.#ended(pull, { name: this.#image, digest: this.#digest, fetchedBytes: blob.sizeBytes, cached: false })
  }

  *#prepare(run: CommandEnvelope): Generator<MixAppend> {
    const parent = digestLike(7)
    const key = snapshotId('overlayfs', this.#id)
    const dir = this.#chance.hex(24)
    yield* this.#step(run, 'snapshot.prepare', 'snapshot', 'snapshot', [
      this.#fact(snapshot.name, key, 'snapshot.preparing', { dir, parent, kind: 'active', labels: {} }),
      this.#fact(snapshot.name, key, 'snapshot.prepared', {}),
    ])
  }

  *#create(run: CommandEnvelope): Generator<MixAppend> {
    const record = {
      ...{ image: this.#image, manifest: this.#digest, config: digestLike(3), snapshotter: 'overlayfs' },
      ...{ snapshotKey: this.#id, runtime: 'runc', options: this.#options().options, labels: {}, onExit: 'remove' },
    }
    const create = this.#envelope('container.create', this.#id, 'container', record, run)
    const created = this.#fact(container.name, this.#id, 'container.created', record)
    const succeeded = command.fact(create.id, 'command.succeeded', { result: { subject: this.#id }, durationMs: 0 })
    const accepted = command.fact(create.id, 'command.accepted', { command: create })
    yield this.#of(create, [accepted, succeeded, created])
  }

  *#service(): Generator<MixAppend> {
    const execId = `exec-${this.#chance.hex(12)}`
    const process = { args: ['cat', '/proc/loadavg'], env: [], tty: false, stdin: false, output: 'attach' as const }
    yield* this.#alone('task.exec', 'task', [
      this.#task('task.exec-starting', { execId, process }),
      this.#task('task.exec-started', { execId, pid: this.#pid() }),
    ])
    const stop = this.#envelope('container.stop', this.#id, 'container', { graceMs: 10_000 })
    yield this.#accepted(stop)
    yield this.#started(stop, 'saga')
    yield* this.#step(stop, 'task.kill', 'task', 'task', [
      this.#task('task.killing', { signal: 15, target: 'init' }),
      this.#task('task.killed', { signal: 15, target: 'init' }),
    ])
    yield this.#ended(stop, { id: this.#id })
  }

  *#remove(): Generator<MixAppend> {
    const remove = this.#envelope('container.remove', this.#id, 'container', { running: 'refuse' })
    const key = snapshotId('overlayfs', this.#id)
    yield this.#accepted(remove)
    yield this.#started(remove, 'saga')
    yield* this.#step(remove, 'task.delete', 'task', 'task', [this.#task('task.deleted', {})])
    yield* this.#step(remove, 'snapshot.remove', 'snapshot', 'snapshot', [
      this.#fact(snapshot.name, key, 'snapshot.removing', {}),
      this.#fact(snapshot.name, key, 'snapshot.removed', {}),
    ])
    yield* this.#step(remove, 'container.delete', 'container', 'task', [
      this.#fact(container.name, this.#id, 'container.deleting', {}),
      this.#fact(container.name, this.#id, 'container.deleted', {}),
    ])
    yield this.#ended(remove, { id: this.#id })
  }

  *#alone(type: string, worker: string, facts: readonly Fact[]): Generator<MixAppend> {
    yield* this.#carriedOut(this.#envelope(type, this.#id, 'task', {}), worker, facts)
  }

  *#step(parent: CommandEnvelope, type: string, aggregate: string, worker: string, facts: readonly Fact[]) {
    const subject = facts[0]?.id ?? this.#id
    yield* this.#carriedOut(this.#envelope(type, subject, aggregate, {}, parent), worker, facts)
  }

  /** Accepted, begun, its intent; then its fact with the outcome. */
  *#carriedOut(envelope: CommandEnvelope, worker: string, facts: readonly Fact[]): Generator<MixAppend> {
    yield this.#accepted(envelope)
    yield this.#started(envelope, worker)
    for (const intent of facts.slice(0, -1)) yield this.#of(envelope, [intent])
    const outcome = { result: { id: this.#id }, durationMs: this.#duration() }
    yield this.#of(envelope, [...facts.slice(-1), command.fact(envelope.id, 'command.succeeded', outcome)])
  }

  #envelope(
    type: string,
    subject: string,
    aggregate: string,
    payload: Record<string, unknown>,
    parent?: CommandEnvelope,
  ): CommandEnvelope {
    const timeMs = this.#tick()
    const id = this.#chance.uuidv7(timeMs)
    return {
      ...{ id, type, namespace: this.#namespace, subject, aggregate, node: 'bench', actor: this.#actor },
      ...(parent === undefined ? { surface: 'http' } : {}),
      ...{ priority: 100, issuedAt: new Date(timeMs).toISOString() },
      ...(parent === undefined ? {} : { idempotencyKey: `${parent.id}/${type}` }),
      correlationId: parent?.correlationId ?? id,
      ...(parent === undefined ? {} : { parentId: parent.id }),
      payload,
    }
  }

  #options() {
    return {
      ...{ image: this.#image, snapshotter: 'overlayfs', runtime: 'runc' },
      options: {
        ...{ args: ['sh', '-c', this.#script], env: ['CI=true', `JOB=${this.#id}`], tty: false, stdin: false },
        ...{ mounts: [], network: 'none' as const, resources: {}, readOnlyRoot: false },
      },
    }
  }

  #accepted = (envelope: CommandEnvelope) =>
    this.#of(envelope, [command.fact(envelope.id, 'command.accepted', { command: envelope })])
  #started = (envelope: CommandEnvelope, worker: string) =>
    this.#of(envelope, [command.fact(envelope.id, 'command.started', { attempt: 1, worker })])
  #ended = (envelope: CommandEnvelope, result: Record<string, unknown>) =>
    this.#of(envelope, [command.fact(envelope.id, 'command.succeeded', { result, durationMs: this.#duration() })])
  #of = ({ id, correlationId, actor }: CommandEnvelope, facts: readonly Fact[]) =>
    this.#append({ commandId: id, correlationId, actor }, facts)
  #append = (cause: Cause, facts: readonly Fact[]): MixAppend => ({
    ...{ namespace: this.#namespace, cause, facts, timeMs: this.#tick() },
  })
  #fact = (aggregate: string, id: string, type: string, data: unknown): Fact => ({ aggregate, id, type, data })
  #task = (type: string, data: unknown): Fact => this.#fact(task.name, this.#id, type, data)
  #pid = () => 2000 + this.#chance.below(60_000)
  #duration = () => this.#chance.below(80_000) / 1000
}

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip'

/** One of few, as images on a node are. */
const digestLike = (number: number): string =>
  `sha256:${((number + 1) * 0x9e3779b1).toString(16).padStart(16, 'c').slice(-16).repeat(4)}`
