import { z } from 'zod'
import { defineAggregate, type Kind, refuse, type View } from '../model/aggregate.ts'
import { digestSchema } from '../model/digest.ts'
import { PurserError } from '../model/errors.ts'
import { event } from '../model/event-schema.ts'
import { type Labels, labels } from '../model/labels.ts'
import { storageBytes } from '../oci/spec/storage.ts'

const dir = z
  .string()
  .regex(/^[0-9a-z]+$/)
  .describe('name of its directory below the snapshotter')
const key = z.string().min(1).max(1024)

interface Stored {
  /** Its directory. */
  dir: string
  /** Key of its parent in the same snapshotter. */
  parent?: string
  labels: Labels
  createdAt: string
  /** The outermost command that made it, or last relied on it: while that one runs, the snapshot is in use. */
  by: string
  /** What it can have beside its parent at most. */
  sizeBytes?: number
  /** That it is on the disk, and not in the kernel's memory only. */
  synced?: true
}

export type SnapshotState =
  | { status: 'absent' }
  | ({ status: 'preparing'; kind: 'active' | 'view' } & Stored)
  | ({ status: 'active' | 'view' | 'committed' } & Stored)
  | ({ status: 'removing' } & Stored)

/** Ids are SNAPSHOTTER/KEY, as `overlayfs/sha256:…` for an unpacked layer (its chain ID) and `overlayfs/c1` for a container. */
export const snapshotId = (snapshotter: string, snapshotKey: string): string => `${snapshotter}/${snapshotKey}`
export const splitSnapshotId = (id: string): { snapshotter: string; key: string } => {
  const slash = id.indexOf('/')
  return { snapshotter: id.slice(0, slash), key: id.slice(slash + 1) }
}

const absent = { status: 'absent' } as SnapshotState
const snapshots: Kind<SnapshotState> = { name: 'snapshot', initial: absent }

export const snapshot = defineAggregate({
  name: 'snapshot',
  alsoNamed: 'diff',
  id: z.string().regex(/^[a-z][a-z0-9-]*\/.{1,1024}$/, 'a snapshot is named SNAPSHOTTER/KEY'),
  initial: absent,
  commands: {
    'snapshot.prepare': z
      .strictObject({ parent: key.optional(), labels: labels.default({}), sizeBytes: storageBytes.optional() })
      .describe('make a snapshot that can be written to'),
    'snapshot.view': z
      .strictObject({ parent: key.optional(), labels: labels.default({}) })
      .describe('make a snapshot that can only be read'),
    'snapshot.commit': z
      .strictObject({ name: key, labels: labels.default({}) })
      .describe('make a written snapshot one that can be a parent, under another name'),
    'snapshot.remove': z.strictObject({}).describe('remove a snapshot that is no parent'),
    'snapshot.unpack': z
      .strictObject({ image: z.string().describe('image whose layers become snapshots') })
      .describe('make snapshots of the layers of an image'),
    'diff.apply': z
      .strictObject({
        digest: digestSchema.describe('of the layer, which is in the content store'),
        diffId: digestSchema.optional().describe('what its tar has to be'),
      })
      .describe('extract a layer into a snapshot that can be written to'),
    'diff.create': z
      .strictObject({
        compression: z.enum(['none', 'gzip', 'zstd']).default('gzip'),
        labels: labels.default({}).describe('of the content'),
      })
      .describe('make a layer of what a snapshot has beside its parent'),
  },
  leadsTo: {
    'snapshot.prepare': ['snapshot.preparing', 'snapshot.prepared', 'snapshot.removed'],
    'snapshot.view': ['snapshot.preparing', 'snapshot.prepared', 'snapshot.removed'],
    'snapshot.commit': ['snapshot.removed', 'snapshot.committed', 'snapshot.synced'],
    'snapshot.remove': ['snapshot.removing', 'snapshot.removed'],
    'snapshot.unpack': ['snapshot.committed', 'image.unpacked'],
    'diff.apply': ['snapshot.applied'],
    'diff.create': ['content.committed'],
  },
  events: {
    'snapshot.preparing': event(
      2,
      'a snapshot is about to be made',
      z.strictObject({
        dir,
        parent: key.optional(),
        kind: z.enum(['active', 'view']),
        labels,
        sizeBytes: storageBytes.optional(),
      }),
      (data) => data, // Version 2 may have a bound.
    ),
    'snapshot.prepared': event(1, 'the snapshot can be mounted', z.strictObject({})),
    'snapshot.committed': event(
      1,
      'the snapshot is read-only and can be a parent',
      z.strictObject({ dir, parent: key.optional(), labels }),
    ),
    'snapshot.synced': event(1, 'the snapshot is on the disk: it outlives a power cut', z.strictObject({ dir })),
    'snapshot.applied': event(
      1,
      'a layer was extracted into the snapshot',
      z.strictObject({ digest: digestSchema, diffId: digestSchema }),
    ),
    'snapshot.removing': event(1, 'the snapshot is about to go', z.strictObject({})),
    'snapshot.removed': event(1, 'the snapshot is gone', z.strictObject({})),
  },
  decide(state, { type, id, namespace, subject, payload }, view) {
    const { snapshotter } = splitSnapshotId(subject)
    switch (type) {
      case 'snapshot.prepare':
      case 'snapshot.view': {
        if (state.status !== 'absent') {
          return refuse(
            'already_exists',
            `snapshot ${subject} is ${state.status}`,
            'choose another key, or remove it first',
          )
        }
        const { parent } = payload
        if (parent !== undefined) {
          const above = view.get(snapshots, namespace, snapshotId(snapshotter, parent))
          if (above.status === 'absent')
            return refuse('not_found', `parent snapshot ${parent} is not known`, 'unpack the image first')
          if (above.status !== 'committed') {
            return refuse(
              'failed_precondition',
              `parent snapshot ${parent} is ${above.status}`,
              'only committed ones can be a parent',
            )
          }
        }
        const kind = type === 'snapshot.prepare' ? 'active' : 'view'
        const data = {
          dir: dirOf(id),
          kind,
          labels: payload.labels,
          ...(parent === undefined ? {} : { parent }),
          ...('sizeBytes' in payload && payload.sizeBytes !== undefined ? { sizeBytes: payload.sizeBytes } : {}),
        } as const
        return [{ type: 'snapshot.preparing', data }]
      }
      case 'snapshot.commit': {
        if (state.status === 'absent')
          return refuse('not_found', `snapshot ${subject} is not known`, 'purser snapshot ls')
        if (state.status !== 'active')
          return refuse(
            'failed_precondition',
            `snapshot ${subject} is ${state.status}`,
            'only active ones can be committed',
          )
        const name = view.get(snapshots, namespace, snapshotId(snapshotter, payload.name))
        if (name.status !== 'absent')
          return refuse('already_exists', `snapshot ${payload.name} exists`, 'choose another name')
        return [{ type: 'snapshot.removed', data: {} }] // The handler records snapshot.committed under the new name with it.
      }
      case 'snapshot.remove': {
        if (state.status === 'absent')
          return refuse('not_found', `snapshot ${subject} is not known`, 'purser snapshot ls')
        const child = childOf(view, namespace, subject)
        if (child)
          return refuse('failed_precondition', `snapshot ${subject} is the parent of ${child}`, 'remove that one first')
        return [{ type: 'snapshot.removing', data: {} }]
      }
      case 'snapshot.unpack':
        return []
      case 'diff.apply':
        if (state.status === 'active') return []
        return refuseIt(state, subject, 'only active ones can be written to')
      case 'diff.create':
        if (state.status === 'active' || state.status === 'view' || state.status === 'committed') return []
        return refuseIt(state, subject, 'wait until it is there')
    }
  },
  evolve(state, event): SnapshotState {
    switch (event.type) {
      case 'snapshot.preparing':
        return { status: 'preparing', ...event.data, createdAt: event.time, by: event.correlationid }
      case 'snapshot.prepared': {
        if (state.status !== 'preparing') return state
        const { kind, ...stored } = state
        return { ...stored, status: kind }
      }
      case 'snapshot.committed':
        return {
          status: 'committed',
          ...event.data,
          createdAt: event.time,
          by: event.correlationid,
          ...(isSynced(state, event.data.dir) ? { synced: true } : {}),
        }
      case 'snapshot.synced':
        return state.status === 'committed' && state.dir === event.data.dir ? { ...state, synced: true } : state
      case 'snapshot.applied':
        return state
      case 'snapshot.removing':
        return state.status === 'absent' ? state : { ...storedOf(state), status: 'removing' }
      case 'snapshot.removed':
        return absent
    }
  },
})

const isSynced = (state: SnapshotState, dir: string): boolean =>
  state.status === 'committed' && state.dir === dir && state.synced === true
const refuseIt = ({ status }: SnapshotState, subject: string, remedy: string) =>
  status === 'absent'
    ? refuse('not_found', `snapshot ${subject} is not known`, 'purser snapshot ls')
    : refuse('failed_precondition', `snapshot ${subject} is ${status}`, remedy)

/** A directory name that no other command can make: the command's UUID, shortened to base 36. */
export const dirOf = (commandId: string): string => BigInt(`0x${commandId.replaceAll('-', '')}`).toString(36)

function storedOf(state: Exclude<SnapshotState, { status: 'absent' }>): Stored {
  const { dir, parent, labels, createdAt, by } = state
  return { dir, labels, createdAt, by, ...(parent === undefined ? {} : { parent }) }
}

/** Some snapshot that has this one as its parent. */
export function childOf(view: View, namespace: string, id: string): string | undefined {
  const { snapshotter, key } = splitSnapshotId(id)
  for (const other of view.list(snapshots, namespace)) {
    if (other.state.status === 'absent' || other.state.parent !== key) continue
    if (splitSnapshotId(other.id).snapshotter === snapshotter) return other.id
  }
}

/**
 * The directories below a snapshot, topmost first: its parent's, its parent's parent's …
 *
 * @throws PurserError not_found when one of them is not there
 */
export function parentDirs(view: View, namespace: string, snapshotter: string, parent: string | undefined): string[] {
  const dirs: string[] = []
  for (let at = parent; at !== undefined; ) {
    const state = view.get(snapshots, namespace, snapshotId(snapshotter, at))
    if (state.status === 'absent') throw new PurserError('not_found', `parent snapshot ${at} is not known`)
    dirs.push(state.dir)
    at = state.parent
  }
  return dirs
}
