import { z } from 'zod'
import { defineAggregate, type Kind, refuse, type View } from '../model/aggregate.ts'
import { type Digest, digestSchema } from '../model/digest.ts'
import { event, type Upcast } from '../model/event-schema.ts'
import { type Labels, labels } from '../model/labels.ts'
import { containers } from './container.ts'
import { imageName } from './image-name.ts'

const descriptor = z.strictObject({ mediaType: z.string(), digest: digestSchema, sizeBytes: z.int().nonnegative() })

const platformImage = z.strictObject({
  platform: z.string().describe('os/arch[/variant] that was chosen'),
  manifest: descriptor,
  config: descriptor,
  layers: z.array(descriptor.extend({ diffId: digestSchema })),
  /** The snapshotter that its layers are unpacked in, where they are. */
  snapshotter: z.string().optional(),
  /** What it keeps besides: all that is of other platforms, where those were asked for too. */
  also: z.array(digestSchema).max(20_000).optional(),
})

export const imageTarget = platformImage.extend({ target: descriptor })
export type ImageTarget = z.output<typeof imageTarget>

const attempt = z.strictObject({
  host: z.string().describe('host[:port] that was asked'),
  status: z.int().optional().describe('of its answer; absent when it gave none'),
  reason: z.string().optional().describe('why that did not help; absent when it did'),
  requests: z.int().positive().describe('for how many requests that is so'),
})

const verified = z.strictObject({
  policy: z.string().describe('the fingerprint of the policy and of the keys that it names'),
  signers: z.array(z.string()).describe('keys and identities'),
})
type Verified = z.output<typeof verified>

const SUPERSEDED_MAX = 64

export type ImageState =
  | { status: 'absent' }
  | ({
      status: 'present'
      labels: Labels
      createdAt: string
      updatedAt: string
      /** By which policy it was found to be signed, and by whom. */
      verified?: Verified
      /** What the name stood for before, the last one at the end: a tag that stands for one of them again was put back. */
      superseded?: Digest[]
    } & ImageTarget)

/** Marks an image that no collection and no rmi without force removes. @see containerd, internal/cri/labels */
export const PINNED = 'io.cri-containerd.pinned'
const PIN: Labels = { [PINNED]: 'pinned' }

const absent = { status: 'absent' } as ImageState
const images: Kind<ImageState> = { name: 'image', initial: absent }

/** Version 2 of what holds an image may have what it keeps besides. */
const asItWas: Upcast = (data) => data

export const image = defineAggregate({
  name: 'image',
  id: imageName,
  initial: absent,
  commands: {
    'image.pull': z
      .strictObject({
        platform: z.string().optional().describe('os[(version)]/arch[/variant]; the host by default'),
        allPlatforms: z
          .boolean()
          .default(false)
          .describe('store all that the image has for other platforms too; only the one is unpacked'),
        snapshotter: z.string().default('overlayfs').describe('where its layers are unpacked'),
        layers: z
          .enum(['keep', 'discard'])
          .optional()
          .describe(
            'what becomes of its compressed layers once they are unpacked; [pull] in the configuration says it by default',
          ),
        labels: labels.default({}),
      })
      .describe('fetch an image and unpack it'),
    'image.commit': z
      .strictObject({
        container: z.string().min(1).max(255).describe('whose changes become the top layer'),
        author: z.string().max(1024).optional(),
        message: z.string().max(4096).optional().describe('stands in the history'),
        running: z.enum(['pause', 'leave']).default('pause').describe('what happens to a task that runs meanwhile'),
        compression: z.enum(['none', 'gzip', 'zstd']).default('gzip'),
        changes: z
          .strictObject({
            entrypoint: z.array(z.string()).optional(),
            cmd: z.array(z.string()).optional(),
            env: z.array(z.string().regex(/^[^=]+=/, 'a variable is NAME=VALUE')).optional(),
            labels: labels.optional(),
            exposedPorts: z.array(z.string()).optional(),
            volumes: z.array(z.string()).optional(),
            user: z.string().optional(),
            workingDir: z.string().optional(),
            stopSignal: z.string().optional(),
          })
          .default({})
          .describe("of the image's configuration; the rest stays as it is in the container's image"),
        labels: labels.default({}),
      })
      .describe('make an image of a container'),
    'image.verify': z.strictObject({}).describe('check the signatures of an image against the policies of the node'),
    'image.tag': z
      .strictObject({ source: imageName.describe('name of the image that gets a second name') })
      .describe('give an image a second name'),
    'image.push': z
      .strictObject({
        to: imageName.optional().describe('where to, when it is not the name itself'),
        platform: z.string().optional().describe('os/arch[/variant]; all that are here by default'),
      })
      .describe('bring an image to its registry'),
    'image.import': z
      .strictObject({
        ingest: z.string().min(1).max(64).describe('the archive: PUT /v1/ingests/{id} has brought it'),
        entry: z
          .int()
          .nonnegative()
          .default(0)
          .describe('which of its images, as GET /v1/ingests/{id}/images counts them'),
        platform: z.string().optional().describe('os/arch[/variant]; the host by default'),
        allPlatforms: z.boolean().default(false).describe('what the archive has for other platforms is stored too'),
        snapshotter: z
          .string()
          .optional()
          .describe('where its layers are unpacked; they are when they are used, without it'),
        labels: labels.default({}),
      })
      .describe('take an image out of an archive'),
    'image.export': z
      .strictObject({
        also: z.array(imageName).max(1000).default([]).describe('further images of the same archive'),
        platform: z.string().optional().describe('os/arch[/variant]; all that are here by default'),
      })
      .describe('see what an archive of an image is made of; GET /v1/exports/{command} then sends it'),
    'image.pin': z.strictObject({}).describe('keep an image: it is removed by force only'),
    'image.unpin': z.strictObject({}).describe('let an image be removed again'),
    'image.check': z
      .strictObject({
        heal: z
          .enum(['no', 'refetch'])
          .default('no')
          .describe('refetch: what is not as it should be is brought again from the registry it came from'),
      })
      .describe('hash anew what is on disk of an image'),
    'image.convert': z
      .strictObject({
        source: imageName.describe('the image whose layers are compressed anew'),
        compression: z.literal('zstd').default('zstd'),
        level: z.int().min(1).max(19).default(3).describe('1 is fast, 19 small'),
      })
      .describe('make an image of the same content with layers that are compressed otherwise'),
    'image.delete': z
      .strictObject({
        inUse: z
          .enum(['refuse', 'allow'])
          .default('refuse')
          .describe('whether a container that uses it, or that it is pinned, stands in the way'),
      })
      .describe('remove the name of an image'),
  },
  leadsTo: {
    'image.pull': [
      'image.pulling',
      'image.resolved',
      'content.committed',
      'snapshot.committed',
      'image.attempted',
      'image.pulled',
      'content.deleted',
      'image.refused',
      'image.verified',
    ],
    'image.push': ['image.pushing', 'image.attempted', 'content.committed', 'image.pushed'],
    'image.import': ['image.importing', 'content.committed', 'image.imported', 'snapshot.unpack', 'image.deleted'],
    'image.export': ['image.exported'],
    'image.commit': ['content.committed', 'task.pause', 'task.resume', 'image.committed'],
    'image.verify': ['image.verified', 'image.refused'],
    'image.tag': ['image.tagged'],
    'image.pin': ['image.pinned'],
    'image.unpin': ['image.unpinned'],
    'image.check': ['content.corrupted', 'content.heal', 'image.checked'],
    'image.convert': ['image.converting', 'content.committed', 'image.converted'],
    'image.delete': ['image.deleted'],
  },
  events: {
    'image.pulling': event(1, 'a pull has begun', z.strictObject({ platform: z.string() })),
    'image.resolved': event(
      1,
      'what the name stood for at the registry',
      z.strictObject({ target: descriptor, platform: z.string() }),
    ),
    'image.attempted': event(
      1,
      'who was asked for the image, the registry and its mirrors, and what they said',
      z.strictObject({ attempts: z.array(attempt).max(50) }),
    ),
    'image.pulled': event(
      2,
      'all of the image is stored and its layers are unpacked',
      z.strictObject({
        image: imageTarget,
        labels,
        fetchedBytes: z.int().nonnegative(),
        cached: z.boolean().describe('nothing was transferred'),
        durationMs: z.number().nonnegative(),
      }),
      asItWas,
    ),
    'image.committed': event(
      2,
      "an image was made of a container: its image's layers, and one of what it changed",
      z.strictObject({ container: z.string(), image: imageTarget, labels }),
      asItWas,
    ),
    'image.verified': event(
      1,
      'it is signed as the policy for its name asks',
      verified.extend({ digest: digestSchema, require: z.string() }),
    ),
    'image.refused': event(
      1,
      'it does not meet the policy for its name, and is not used',
      z.strictObject({ digest: digestSchema, policy: z.string().optional(), reason: z.string() }),
    ),
    'image.tagged': event(
      2,
      'the image has this name too',
      z.strictObject({ source: imageName, image: imageTarget, labels }),
      asItWas,
    ),
    'image.unpacked': event(
      1,
      'the layers of the image are snapshots of a snapshotter',
      z.strictObject({ snapshotter: z.string() }),
    ),
    'image.pushing': event(1, 'a push has begun', z.strictObject({ to: z.string() })),
    'image.pushed': event(
      1,
      'the registry has all of the image',
      z.strictObject({
        to: z.string(),
        digest: digestSchema.describe('of what the name stands for there'),
        platforms: z.array(z.string()),
        sentBytes: z.int().nonnegative(),
        sent: z.int().nonnegative().describe('blobs that were sent'),
        mounted: z.int().nonnegative().describe('blobs that another repository had'),
        known: z.int().nonnegative().describe('blobs that were there already'),
        durationMs: z.number().nonnegative(),
      }),
    ),
    'image.importing': event(1, 'an archive is about to be read', z.strictObject({ ingest: z.string() })),
    'image.imported': event(
      2,
      'all of the image was in an archive, and is stored',
      z.strictObject({
        image: imageTarget,
        labels,
        readBytes: z.int().nonnegative().describe('of blobs that were not here'),
        durationMs: z.number().nonnegative(),
      }),
      asItWas,
    ),
    'image.exported': event(
      1,
      'an archive of the image may be fetched by whoever asked for it',
      z.strictObject({ digest: digestSchema, platforms: z.array(z.string()), sizeBytes: z.int().nonnegative() }),
    ),
    'image.pinned': event(1, 'the image is kept until somebody unpins it', z.strictObject({})),
    'image.unpinned': event(1, 'the image may be removed', z.strictObject({})),
    'image.checked': event(
      1,
      'all that is on disk of the image was hashed',
      z.strictObject({
        blobs: z.int().nonnegative(),
        readBytes: z.int().nonnegative(),
        corrupted: z.array(digestSchema),
        missing: z.array(digestSchema),
        durationMs: z.number().nonnegative(),
      }),
    ),
    'image.converting': event(1, 'layers are about to be compressed anew', z.strictObject({ source: imageName })),
    'image.converted': event(
      1,
      'an image of the same content as another, its layers compressed otherwise',
      z.strictObject({
        source: imageName,
        image: imageTarget,
        labels,
        compression: z.string(),
        sourceBytes: z.int().nonnegative().describe('of the layers before'),
        bytes: z.int().nonnegative().describe('of the layers now'),
        durationMs: z.number().nonnegative(),
      }),
    ),
    'image.deleted': event(1, 'the name is gone; what only it held is garbage', z.strictObject({})),
  },
  decide(state, { type, namespace, subject, payload }, view) {
    switch (type) {
      case 'image.pull':
        return [{ type: 'image.pulling', data: { platform: payload.platform ?? '' } }]
      case 'image.push':
        if (state.status === 'absent') return unknown(subject, namespace)
        return [{ type: 'image.pushing', data: { to: payload.to ?? subject } }]
      case 'image.import':
        return [{ type: 'image.importing', data: { ingest: payload.ingest } }]
      case 'image.export': {
        for (const name of [subject, ...payload.also]) {
          if (view.get(images, namespace, name).status === 'absent') return unknown(name, namespace)
        }
        return [] // The handler knows what there is of them.
      }
      case 'image.commit': {
        const source = view.get(containers, namespace, payload.container)
        if (source.status === 'present') return []
        return refuse(
          'not_found',
          `container ${payload.container} is not in namespace ${namespace}`,
          'purser ps -a lists what there is',
        )
      }
      case 'image.verify':
        return []
      case 'image.tag': {
        const source = view.get(images, namespace, payload.source)
        if (source.status === 'absent') return unknown(payload.source, namespace)
        return [
          {
            type: 'image.tagged',
            data: { source: payload.source, image: targetOf(source), labels: unpinned(source.labels) },
          },
        ]
      }
      case 'image.pin':
        if (state.status === 'absent') return unknown(subject, namespace)
        return PINNED in state.labels ? [] : [{ type: 'image.pinned', data: {} }]
      case 'image.unpin':
        if (state.status === 'absent') return unknown(subject, namespace)
        return PINNED in state.labels ? [{ type: 'image.unpinned', data: {} }] : []
      case 'image.check':
        return state.status === 'absent' ? unknown(subject, namespace) : []
      case 'image.convert': {
        const source = view.get(images, namespace, payload.source)
        if (source.status === 'absent') return unknown(payload.source, namespace)
        return [{ type: 'image.converting', data: { source: payload.source } }]
      }
      case 'image.delete': {
        if (state.status === 'absent') return unknown(subject, namespace)
        if (payload.inUse === 'refuse' && PINNED in state.labels) {
          return refuse('failed_precondition', `image ${subject} is pinned`, `purser image unpin ${subject}, or rmi -f`)
        }
        const user = payload.inUse === 'refuse' ? userOf(view, namespace, subject) : undefined
        if (user === undefined) return [{ type: 'image.deleted', data: {} }]
        return refuse(
          'failed_precondition',
          `image ${subject} is used by container ${user}`,
          `purser rm ${user}, or rmi -f`,
        )
      }
    }
  },
  evolve(state, event): ImageState {
    switch (event.type) {
      case 'image.pulling':
      case 'image.resolved':
      case 'image.attempted':
      case 'image.importing':
      case 'image.exported':
      case 'image.pushing':
      case 'image.pushed':
      case 'image.refused':
      case 'image.checked':
      case 'image.converting':
        return state
      case 'image.verified': {
        const { policy, signers, digest } = event.data
        if (state.status === 'absent' || state.target.digest !== digest) return state
        return { ...state, verified: { policy, signers } }
      }
      case 'image.pulled':
      case 'image.imported':
      case 'image.committed':
      case 'image.converted':
      case 'image.tagged': {
        const createdAt = state.status === 'present' ? state.createdAt : event.time
        const superseded = supersededBy(state, event.data.image.target.digest)
        // A name that is pinned stays so, whatever it comes to stand for.
        const pin = state.status === 'present' && PINNED in state.labels ? PIN : {}
        return {
          status: 'present',
          ...event.data.image,
          labels: { ...event.data.labels, ...pin },
          createdAt,
          updatedAt: event.time,
          ...(superseded.length === 0 ? {} : { superseded }),
        }
      }
      case 'image.unpacked':
        return state.status === 'present' ? { ...state, snapshotter: event.data.snapshotter } : state
      case 'image.pinned':
        return state.status === 'present' ? { ...state, labels: { ...state.labels, ...PIN } } : state
      case 'image.unpinned':
        return state.status === 'present' ? { ...state, labels: unpinned(state.labels) } : state
      case 'image.deleted':
        return absent
    }
  },
})

const unpinned = ({ [PINNED]: _, ...rest }: Labels): Labels => rest

const unknown = (name: string, namespace: string) =>
  refuse('not_found', `image ${name} is not in namespace ${namespace}`, 'purser images')

function supersededBy(state: ImageState, digest: Digest): Digest[] {
  if (state.status === 'absent') return []
  const { target, superseded = [] } = state
  return [...superseded, target.digest].filter((each) => each !== digest).slice(-SUPERSEDED_MAX)
}

function targetOf(state: Extract<ImageState, { status: 'present' }>): ImageTarget {
  const { target, platform, manifest, config, layers, snapshotter, also } = state
  return {
    target,
    platform,
    manifest,
    config,
    layers,
    ...(snapshotter === undefined ? {} : { snapshotter }),
    ...(also === undefined ? {} : { also }),
  }
}

function userOf(view: View, namespace: string, name: string): string | undefined {
  for (const { id, state } of view.list(containers, namespace)) {
    if (state.status === 'present' && state.image === name) return id
  }
}

/** Every digest that an image keeps in the content store. */
export function contentOf(target: ImageTarget): Digest[] {
  const own = [target.target, target.manifest, target.config, ...target.layers].map((each) => each.digest)
  return [...own, ...(target.also ?? [])]
}
