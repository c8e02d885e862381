import { lifeConflict } from '../commands/life.ts'
import { snapshotId } from '../commands/snapshot.ts'
import { PurserError } from '../model/errors.ts'
import { chainIdOf } from '../oci/chain-id.ts'
import { optionsConflict } from '../oci/spec/options-conflict.ts'
import { sandboxConflict } from '../oci/spec/sandbox-options.ts'
import { bothSteps, undoStep } from './define.ts'
import { viewImages } from './image-mounts.ts'
import { sandboxRuntime } from './sandbox-runtime.ts'
import { type ProvisionRequest, type ProvisionSaga, unpackedImage } from './unpacked-image.ts'

/** Image present and unpacked, snapshot prepared, record written: a container that can be started. */
export async function provision(saga: ProvisionSaga, undo: AsyncDisposableStack): Promise<void> {
  const { id, payload } = saga
  if (saga.state.status !== 'absent' && saga.state.origin !== saga.command.correlationId) saga.decide() // Refuses: the name is in use.
  const { sandbox } = payload
  // In a sandbox the network is that of all.
  const network = sandbox === undefined ? (payload.options.network ?? saga.effects.defaultNetwork) : undefined
  const options = { ...payload.options, ...(network === undefined ? {} : { network }) }
  const conflict = sandboxConflict(payload.options, sandbox) ?? optionsConflict(options)
  if (conflict) {
    throw new PurserError('invalid_argument', `options.${conflict.field}: ${conflict.message}`, {
      remedy: 'see purser run --help',
      field: `options.${conflict.field}`,
    })
  }
  const before = saga.state // Redelivered, it keeps to what it chose then.
  const usual = sandboxRuntime(saga) ?? saga.effects.defaultRuntime(options)
  const chosen = before.status === 'absent' ? usual : before.runtime
  const runtime = payload.runtime ?? chosen
  await saga.effects.requireRuntime(runtime) // Before an image is pulled in vain.
  const contradiction = lifeConflict(payload)
  if (contradiction) {
    throw new PurserError('invalid_argument', contradiction.message, {
      remedy: 'leave one of the two out',
      field: contradiction.field,
    })
  }
  const present = await unpackedImage(saga, payload.image)
  const imageMounts = await viewImages(saga, undo)
  const { snapshotter } = payload
  const parent = chainIdOf(present.layers.map((layer) => layer.diffId))
  const subject = snapshotId(snapshotter, id)
  undoStep(saga, undo, 'undo-snapshot', { type: 'snapshot.remove', subject })
  const { storageBytes } = options
  const size = storageBytes === undefined ? {} : { sizeBytes: storageBytes }
  const prepare = saga.step('prepare', { type: 'snapshot.prepare', subject, payload: { parent, ...size } })
  undoStep(saga, undo, 'undo-container', { type: 'container.delete', subject: id })
  const { labels, onExit, timeoutMs } = payload
  const create = saga.step('create', {
    type: 'container.create',
    subject: id,
    payload: {
      image: payload.image,
      manifest: present.manifest.digest,
      config: present.config.digest,
      snapshotter,
      snapshotKey: id,
      runtime,
      ...(sandbox === undefined ? {} : { sandbox }),
      options,
      labels,
      onExit,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(imageMounts === undefined ? {} : { imageMounts }),
      ...lifeOf(payload),
    },
  })
  await bothSteps(prepare, create)
}

/** How it is to live, as it was asked for. */
function lifeOf(payload: ProvisionRequest): Partial<ProvisionRequest> {
  const { health, init, logging, restart, stopTimeoutMs } = payload
  return {
    ...(health === undefined ? {} : { health }),
    ...(init === undefined ? {} : { init }),
    ...(logging === undefined ? {} : { logging }),
    ...(restart === undefined ? {} : { restart }),
    ...(stopTimeoutMs === undefined ? {} : { stopTimeoutMs }),
  }
}
