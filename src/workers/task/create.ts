import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { container, type PresentContainer } from '../../commands/container.ts'
import { POOL_LABEL } from '../../commands/pool-member.ts'
import { task } from '../../commands/task.ts'
import { expectMigration } from '../../host/cgroup-migration.ts'
import type { Fact } from '../../model/aggregate.ts'
import { errorCodeOf, PurserError, toPurserError } from '../../model/errors.ts'
import { applyCdi } from '../../oci/cdi/apply.ts'
import { healthCheckOf } from '../../oci/health-check.ts'
import { type ImageConfig, parseImageConfig } from '../../oci/image-config.ts'
import { buildSpec, type ImageProcess, stopSignalOf } from '../../oci/spec/build-spec.ts'
import { specJson } from '../../oci/spec/ulimits.ts'
import type { Outcome } from '../../queue/handler.ts'
import { takeHeldStreams } from '../../shim/held-streams.ts'
import { LoggedOutput } from '../../shim/output-hub.ts'
import type { TaskRequest } from '../../shim/shims.ts'
import { ProcessStdio } from '../../shim/stdio.ts'
import { noteCreated } from './begun.ts'
import { mayHaveGoneOn, restore, restoreFrom, specForRestore } from './checkpoint/restore.ts'
import { defineTaskHandler } from './effects.ts'
import { ownerIn, told } from './id-ranges.ts'
import { mountedImages } from './image-mounts.ts'
import { imageVolumes } from './image-volumes.ts'
import { hostPartOf, sharedMounts } from './isolation.ts'
import { removeBundle } from './live-task.ts'
import { attachedFacts, connect, intentFacts, type TaskJob } from './network/connect.ts'
import { claimMount, makeClaimFiles } from './pool/claim-files.ts'
import { reconnect } from './reconnect.ts'
import { rootfsMounts } from './rootfs.ts'
import { homeIn, requireSandbox } from './sandbox/home.ts'
import { mountForTask, mountMappedRoot } from './task-mounts.ts'

const CONFIG_BYTES_MAX = 8 * 1024 * 1024
const UNDO_MS = 60_000
/** Snapshotters whose layers are plain directories. */
const MOUNTS_NOTHING_ELSE = new Set(['native', 'overlayfs'])

/** Bundle, streams, shim, `create`: a process that waits to be started, or one that goes on from a checkpoint. */
export const createTask = defineTaskHandler(task, 'task.create', async (job) => {
  const { id, namespace, effects, signal } = job
  const { tasks, shims, paths, snapshotters, networks } = effects
  const made = job.view.get(container, namespace, id)
  if (made.status === 'absent') {
    throw new PurserError('not_found', `container ${id} is not in namespace ${namespace}`, { remedy: 'purser ps -a' })
  }
  const { runtime, sandbox } = made
  const bundle = paths.bundle(namespace, id)
  const identity = { namespace, id, bundle, runtime }
  const config = parseImageConfig(await effects.content.read(made.config, { maxBytes: CONFIG_BYTES_MAX })).config
  const image = imageProcessOf(config)
  const health = healthCheckOf(config.healthcheck, made.health)
  const lasting = { stopSignal: stopSignalOf(image, made.options), ...(health === undefined ? {} : { health }) }
  const { checkpoint } = job.payload
  const created = (pid: number) => {
    const facts = [...attachedFacts(job), task.fact(id, 'task.created', { pid, ...lasting })]
    if (checkpoint === undefined) return facts
    return [...facts, task.fact(id, 'task.started', { pid, startedAt: new Date().toISOString() })]
  }
  if (job.state.status === 'creating') {
    const found = await adoptOrRemove(job, { identity, made, checkpoint, created })
    if (found) return found
  } else {
    job.decide()
    expectMigration()
    await requireCreatable(job, made, checkpoint)
    await job.append(task.fact(id, 'task.creating', { runtime }), ...intentFacts(id, made.options))
  }

  await using undo = job.undoStack()
  await using held = new AsyncDisposableStack() // Closed whoever goes on, if it is not this attempt.
  try {
    undo.defer(async () => {
      await shims.removeRemains({ ...identity, signal: AbortSignal.timeout(UNDO_MS) })
      removeBundle(bundle)
      await networks.detach({ namespace, id })
    })
    // Looked at after the intent: a sandbox that is ended from now on waits for this task.
    const home = sandbox === undefined ? undefined : homeIn(job, sandbox)
    const options = { ...made.options, ...home?.options }
    const from = checkpoint === undefined ? undefined : await restoreFrom(job, made, checkpoint)
    const rootfs = await rootfsMounts(job.view, snapshotters, namespace, made, signal)
    const owners = await effects.idRanges.mapFor(namespace, id, options)
    if (owners) await job.append(task.fact(id, 'task.ids-mapped', told(owners)))
    const host = await hostPartOf(job, options, owners)
    const volumes = await imageVolumes(job, made, config.volumes, rootfs, owners)
    const images = await mountedImages(job, made, owners)
    const ownMounts = [...sharedMounts(options), ...volumes.mounts, ...images.mounts]
    const connection = home?.connection ?? (await connect(job, options))
    const edits = effects.cdi.resolve(options.cdiDevices ?? [])
    const usual = buildSpec({
      image,
      options: { ...options, env: effects.sealing.openVariables(options.env, namespace) },
      id,
      cgroupsPath: paths.cgroups.inSpec(namespace, id),
      ...(await effects.userFiles.read(rootfs, signal)),
      arch: effects.architecture,
      cgroupVersion: effects.cgroupVersion,
      networkFiles: connection.files,
      volumes: [...volumes.binds, ...images.binds],
      networkNamespace: connection.namespace,
      init: made.init ? effects.init.require(id) : undefined,
      host: { ...host, ...home?.host, namespaces: { ...host.namespaces, ...home?.host.namespaces } },
      annotations: home?.annotations,
    })
    const edited = applyCdi(usual, edits)
    const spec = from ? specForRestore(edited, bundle, from) : edited
    // A mount namespace that was made before may not have what was mounted on the host since.
    const isApart = shims.isApart(runtime)
    const needsHostsMounts =
      connection.isPinned ||
      owners !== undefined ||
      ownMounts.length > 0 ||
      host.shm !== undefined ||
      edits.length > 0 ||
      options.storageBytes !== undefined ||
      options.mounts.some(({ type }) => type === 'bind') ||
      !MOUNTS_NOTHING_ELSE.has(made.snapshotter)
    const mounts = isApart && needsHostsMounts ? 'present' : 'any'
    if (home && mounts === 'present') throw unseenMounts(id, home.identity.id, runtime)
    const spare = home || mounts === 'present' ? undefined : shims.takeSpare(identity)
    mkdirSync(join(bundle, 'rootfs'), { recursive: true, mode: 0o711 })
    await mountForTask(bundle, ownMounts, signal)
    if (owners) await mountMappedRoot(bundle, rootfs, { snapshotter: made.snapshotter, owners }, signal)
    if (made.labels[POOL_LABEL] !== undefined) {
      makeClaimFiles(bundle, owners ? ownerIn(owners, spec.process.user) : spec.process.user)
      spec.mounts.push(claimMount(bundle))
    }
    writeFileSync(join(bundle, 'config.json'), specJson(shims.prepareSpec(runtime, spec)), { mode: 0o600 })
    mkdirSync(paths.container(namespace, id), { recursive: true, mode: 0o700 })
    const { log, passing, forwarder } = await effects.logs.open(namespace, id, made)
    held.defer(async () => {
      forwarder?.stop()
      await log.close()
    })
    if (home) takeHeldStreams(home.identity.bundle, bundle)
    const stdio = await ProcessStdio.create(paths.stdio(namespace, id), {
      stdin: options.stdin ? 'open' : 'none',
      output: options.tty ? 'terminal' : 'pipes',
    })
    held.defer(() => stdio.close())
    const shim = home
      ? await shims.join({ ...identity, sandbox: home.identity, signal })
      : await shims.start({ ...identity, stdio, spare, mounts, signal })
    held.defer(() => shim.disconnect())
    const ioOwner = owners && ownerIn(owners, spec.process.user)
    const request = { rootfs: owners ? [] : rootfs, io: stdio.io, ioOwner, checkpoint: from?.images }
    const waiting = await shim.create(request, signal)
    void shims.learnFrom(identity, spec)
    if (from) tasks.starts.begin(namespace, id, undefined, job.command.id)
    else noteCreated(bundle, waiting.pid)
    const { pid } = from ? await restore(shim, from) : waiting
    held.move()
    undo.move() // The task is whole: if the facts cannot be written, redelivery adopts it.
    const output = new LoggedOutput(stdio.spool(), log, passing)
    const streams = { log, forwarder, stdio, output, execs: new Map() }
    tasks.adopt({ namespace, id, bundle, runtime, isApart, shim, isGrouped: home !== undefined, ...streams })
    return { facts: created(pid), result: { pid } }
  } catch (thrown) {
    const error = toPurserError(thrown)
    await undo.disposeAsync()
    if (errorCodeOf(thrown) !== undefined || !signal.aborted) {
      await job.append(task.fact(id, 'task.create-failed', { error: error.message }))
    }
    throw error
  }
})

const imageProcessOf = (config: ImageConfig['config']): ImageProcess => ({
  Env: config.env,
  Cmd: config.cmd,
  Entrypoint: config.entrypoint,
  WorkingDir: config.workingDir,
  User: config.user,
  StopSignal: config.stopSignal,
})

interface Begun {
  identity: TaskRequest
  made: PresentContainer
  checkpoint: string | undefined
  /** What a task that is whole ends the command with. */
  created(pid: number): Fact[]
}

/**
 * Redelivered: the log says we began, the host says how far we got. A task that is whole is taken as it is; of any other nothing
 * is left.
 *
 * @throws PurserError aborted when its processes may have gone on from their checkpoint
 */
async function adoptOrRemove(
  job: TaskJob,
  { identity, made, checkpoint, created }: Begun,
): Promise<Outcome | undefined> {
  const { id, namespace, effects, signal } = job
  const { tasks, shims, networks } = effects
  const { bundle } = identity
  // It may have been here that the log was lost.
  const own = tasks.get(namespace, id)
  if (own) {
    const { pid } = await own.shim.state({}, signal)
    return { facts: created(pid), result: { pid } }
  }
  const found = await reconnect(effects, identity, made, signal)
  if (found?.state.status === (checkpoint === undefined ? 'created' : 'running')) {
    if (checkpoint === undefined) noteCreated(bundle, found.state.pid)
    tasks.adopt(found.live)
    return { facts: created(found.state.pid) }
  }
  const isUnknown = checkpoint !== undefined && mayHaveGoneOn(bundle)
  await shims.removeRemains({ ...identity, signal })
  removeBundle(bundle)
  await networks.detach({ namespace, id })
  if (!isUnknown) return undefined
  const error = `the daemon went down while container ${id} was restored: whether its processes went on is not known`
  await job.append(task.fact(id, 'task.create-failed', { error }))
  throw new PurserError('aborted', error, { remedy: 'restore it again, if twice does no harm' })
}

/** Before the intent: what cannot be made could not be undone by it either. @throws PurserError saying what it lacks */
async function requireCreatable(job: TaskJob, made: PresentContainer, checkpoint: string | undefined): Promise<void> {
  const { id, namespace, effects } = job
  const { runtime, sandbox } = made
  effects.paths.cgroups.require(made.options.cgroupParent, 'options.cgroupParent')
  if (sandbox !== undefined) requireSandbox(job.view, namespace, sandbox)
  if (made.init) effects.init.require(id)
  if (checkpoint !== undefined) await restoreFrom(job, made, checkpoint)
  await effects.shims.reports.require(runtime)
}

/** A shim that was there before lives in a mount namespace that does not get what is mounted now. */
const unseenMounts = (id: string, sandbox: string, runtime: string): PurserError =>
  new PurserError(
    'failed_precondition',
    `container ${id} mounts something of the host, which the shim of sandbox ${sandbox} does not see with ${runtime} on this host's hybrid cgroups`,
    { remedy: 'make the sandbox with --runtime runc, or the container without mounts, images and sizes' },
  )
