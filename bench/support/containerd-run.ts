import { z } from 'zod'
import type { Containerd } from './containerd.ts'
import { connectGrpc } from './grpc.ts'

export interface ContainerdRunner extends Disposable {
  /** Snapshot, container, task, start: what a client asks for to run an image. Returns when the process has been started. */
  start(id: string): Promise<void>
  remove(id: string): Promise<void>
  /** Waits for the end of a process that ends by itself, and deletes task, container and snapshot. */
  endOf(id: string): Promise<void>
  /** Starts one more process in a running task. */
  exec(id: string, execId: string, args: readonly string[]): Promise<void>
}

const SPEC_TYPE = 'types.containerd.io/opencontainers/runtime-spec/1/Spec'
const PROCESS_TYPE = 'types.containerd.io/opencontainers/runtime-spec/1/Process'
const SNAPSHOTTER = 'overlayfs'

const spec = z.looseObject({ process: z.looseObject({}), linux: z.looseObject({}) })
/** Keeps a snapshot from collection until the container's record names it; clients use this or a lease. */
const ROOT_LABEL = { 1: 'containerd.io/gc.root', 2: new Date(0).toISOString() }

/** An OCI runtime specification, as far as it is changed here. */
export type RuntimeSpec = z.infer<typeof spec>
export const parseSpec = (text: string): RuntimeSpec => spec.parse(JSON.parse(text))

export const withArgs = (given: RuntimeSpec, args: readonly string[]): RuntimeSpec => ({
  ...given,
  process: { ...given.process, args },
})

const info = z.object({ Spec: spec, SnapshotKey: z.string() })

/**
 * @param args of the process; the image is present and unpacked
 * @param given what to run instead of the specification that `ctr run` makes
 */
export async function containerdRunner(
  containerd: Containerd,
  image: string,
  args: readonly string[],
  given?: RuntimeSpec,
): Promise<ContainerdRunner> {
  await containerd.ctr('container', 'create', image, 'model', ...args)
  const model = info.parse(JSON.parse(await containerd.ctr('container', 'info', 'model')))
  const listed = await containerd.ctr('snapshot', 'info', model.SnapshotKey)
  const parent = z.object({ Parent: z.string() }).parse(JSON.parse(listed)).Parent
  await containerd.ctr('container', 'rm', 'model')
  const base = given ?? model.Spec
  const grpc = await connectGrpc(containerd.socketPath, { 'containerd-namespace': 'default' })
  return {
    async start(id) {
      const prepared = await grpc.call('containerd.services.snapshots.v1.Snapshots/Prepare', {
        1: SNAPSHOTTER,
        2: id,
        3: parent,
        4: ROOT_LABEL,
      })
      const linux = { ...base.linux, cgroupsPath: `/default/${id}` }
      const container = {
        1: id,
        3: image,
        4: { 1: 'io.containerd.runc.v2' },
        5: { 1: SPEC_TYPE, 2: JSON.stringify({ ...base, linux }) },
        6: SNAPSHOTTER,
        7: id,
      }
      await grpc.call('containerd.services.containers.v1.Containers/Create', { 1: container })
      await grpc.call('containerd.services.tasks.v1.Tasks/Create', { 1: id, 3: prepared.get(1) ?? [] })
      await grpc.call('containerd.services.tasks.v1.Tasks/Start', { 1: id })
    },
    async remove(id) {
      await containerd.ctr('task', 'rm', '-f', id)
      await containerd.ctr('container', 'rm', id) // Its snapshot goes too.
    },
    async endOf(id) {
      await grpc.call('containerd.services.tasks.v1.Tasks/Wait', { 1: id })
      await grpc.call('containerd.services.tasks.v1.Tasks/Delete', { 1: id })
      await grpc.call('containerd.services.containers.v1.Containers/Delete', { 1: id })
      await grpc.call('containerd.services.snapshots.v1.Snapshots/Remove', { 1: SNAPSHOTTER, 2: id })
    },
    async exec(id, execId, processArgs) {
      const process = JSON.stringify({ ...base.process, args: processArgs })
      await grpc.call('containerd.services.tasks.v1.Tasks/Exec', {
        1: id,
        6: { 1: PROCESS_TYPE, 2: process },
        7: execId,
      })
      await grpc.call('containerd.services.tasks.v1.Tasks/Start', { 1: id, 2: execId })
    },
    [Symbol.dispose]: () => grpc[Symbol.dispose](),
  }
}
