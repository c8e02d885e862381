import type { z } from 'zod'
import type { ContainerState, container } from '../commands/container.ts'
import { type ImageState, image } from '../commands/image.ts'
import { lifeConflict } from '../commands/life.ts'
import { snapshot, snapshotId } from '../commands/snapshot.ts'
import { PurserError } from '../model/errors.ts'
import { chainIdOf } from '../oci/chain-id.ts'
import { optionsConflict } from '../oci/spec/options-conflict.ts'
import { bothSteps, type Saga, undoStep } from './define.ts'
import { requireTrust } from './trusted-image.ts'

type Request = z.output<(typeof container.commands)['container.provision']>
type PresentImage = Extract<ImageState, { status: 'present' }>

/** Image present and unpacked, snapshot prepared, record written: a container that can be started. */
export async function provision(saga: Saga<ContainerState, Request>, undo: AsyncDisposableStack): Promise<void> {
  const { id, payload } = saga
  if (saga.state.status !== 'absent' && saga.state.origin !== saga.command.correlationId) saga.decide() // Refuses: the name is in use.
  const options = { ...payload.options, network: payload.options.network ?? saga.effects.defaultNetwork }
  const conflict = optionsConflict(options)
  if (conflict) {
    throw new PurserError('invalid_argument', `options.${conflict.field}: ${conflict.message}`, {
      remedy: 'see purser run --help',
      field: `options.${conflict.field}`,
    })
  }
  const before = saga.state // Redelivered, it keeps to what it chose then.
  const chosen = before.status === 'absent' ? saga.effects.defaultRuntime(options) : before.runtime
  const runtime = payload.runtime ?? chosen
  await saga.effects.requireRuntime(runtime) // Before an image is pulled in vain.
  const contradiction = lifeConflict(payload)
  if (contradiction) {
    throw new PurserError('invalid_argument', contradiction.message, {
      remedy: 'leave one of the two out',
      field: contradiction.field,
    })
  }
  const present = await unpackedImage(saga)
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
      options,
      labels,
      onExit,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...lifeOf(payload),
    },
  })
  await bothSteps(prepare, create)
}

/** How it is to live, as it was asked for. */
function lifeOf(payload: Request): Partial<Request> {
  const { health, init, restart, stopTimeoutMs } = payload
  return {
    ...(health === undefined ? {} : { health }),
    ...(init === undefined ? {} : { init }),
    ...(restart === undefined ? {} : { restart }),
    ...(stopTimeoutMs === undefined ? {} : { stopTimeoutMs }),
  }
}

async function unpackedImage(saga: Saga<ContainerState, Request>): Promise<PresentImage> {
  const { namespace, payload } = saga
  const { image: name, snapshotter } = payload
  await pullImage(saga, 'pull', payload, saga.signal)
  const found = saga.view.get(image, namespace, name)
  if (found.status === 'absent') {
    throw new PurserError('not_found', `image ${name} is not in namespace ${namespace}`, {
      remedy: `purser pull ${name}`,
    })
  }
  await requireTrust(saga, name, found)
  const top = snapshotId(snapshotter, chainIdOf(found.layers.map((layer) => layer.diffId)))
  if (saga.view.get(snapshot, namespace, top).status !== 'committed') {
    await saga.step('unpack', { type: 'snapshot.unpack', subject: top, payload: { image: name } })
  }
  return found
}

/** Has an image pulled where it is wanted anew, or is not there. @returns whether it was pulled */
export async function pullImage(
  saga: Saga<unknown, unknown>,
  step: string,
  { image: subject, snapshotter, platform, pull }: Pick<Request, 'image' | 'snapshotter' | 'platform' | 'pull'>,
  signal: AbortSignal,
): Promise<boolean> {
  const isHere = saga.view.get(image, saga.namespace, subject).status !== 'absent'
  if (pull === 'never' || (isHere && pull === 'missing')) return false
  const payload = { snapshotter, ...(platform === undefined ? {} : { platform }) }
  await saga.step(step, { type: 'image.pull', subject, payload }, signal)
  return true
}
