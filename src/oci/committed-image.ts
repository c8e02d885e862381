import { z } from 'zod'
import type { Digest } from '../model/digest.ts'
import { PurserError } from '../model/errors.ts'
import { parseImageConfig } from './image-config.ts'
import { parseJson, parseSchema } from './json.ts'
import type { Descriptor } from './manifest.ts'
import { layerFormat, MEDIA_TYPES } from './media-types.ts'

/** What of an image's configuration is to be another; what is left out stays. */
export interface ConfigChanges {
  entrypoint?: readonly string[] | undefined
  cmd?: readonly string[] | undefined
  /** Added: `NAME=value`, instead of one of that name. */
  env?: readonly string[] | undefined
  /** Added. */
  labels?: Readonly<Record<string, string>> | undefined
  /** Added: `port`, `port/udp`. */
  exposedPorts?: readonly string[] | undefined
  /** Added: paths in the container. */
  volumes?: readonly string[] | undefined
  user?: string | undefined
  workingDir?: string | undefined
  stopSignal?: string | undefined
}

export interface Committed {
  /** RFC 3339. */
  created: string
  createdBy: string
  author?: string | undefined
  comment?: string | undefined
  diffId: Digest
  changes: ConfigChanges
}

const record = z.record(z.string(), z.unknown())
const list = z.array(z.unknown())

/**
 * The configuration of an image with one more layer. All that the old one says and that is not changed stays, also what
 * is not known here.
 *
 * @param base the old configuration, as it is stored
 * @throws PurserError invalid_argument when it is none
 * @see image-spec, config.md
 */
export function committedConfig(base: Uint8Array, { changes, diffId, ...history }: Committed): Buffer {
  parseImageConfig(base) // Throws for what is no configuration.
  const what = 'image configuration'
  const given = parseSchema(record, parseJson(base, what), what)
  const config = record.catch({}).parse(given.config)
  const rootfs = record.catch({}).parse(given.rootfs)
  const { created, createdBy, author, comment } = history
  return Buffer.from(
    JSON.stringify({
      ...given,
      created,
      ...(author === undefined ? {} : { author }),
      config: { ...config, ...changedFields(config, changes) },
      rootfs: { ...rootfs, diff_ids: [...list.catch([]).parse(rootfs.diff_ids), diffId] },
      history: [
        ...list.catch([]).parse(given.history),
        {
          created,
          created_by: createdBy,
          ...(author === undefined ? {} : { author }),
          ...(comment === undefined ? {} : { comment }),
        },
      ],
    }),
  )
}

function changedFields(config: Record<string, unknown>, changes: ConfigChanges): Record<string, unknown> {
  const set = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, {}]))
  const added = (field: string, more: Record<string, unknown>) => ({
    ...record.catch({}).parse(config[field]),
    ...more,
  })
  const { entrypoint, cmd, env, labels, exposedPorts, volumes, user, workingDir, stopSignal } = changes
  return {
    ...(entrypoint === undefined ? {} : { Entrypoint: entrypoint }),
    ...(cmd === undefined ? {} : { Cmd: cmd }),
    ...(env === undefined ? {} : { Env: mergedEnv(z.array(z.string()).catch([]).parse(config.Env), env) }),
    ...(labels === undefined ? {} : { Labels: added('Labels', labels) }),
    ...(exposedPorts === undefined ? {} : { ExposedPorts: added('ExposedPorts', set(exposedPorts)) }),
    ...(volumes === undefined ? {} : { Volumes: added('Volumes', set(volumes)) }),
    ...(user === undefined ? {} : { User: user }),
    ...(workingDir === undefined ? {} : { WorkingDir: workingDir }),
    ...(stopSignal === undefined ? {} : { StopSignal: stopSignal }),
  }
}

function mergedEnv(before: readonly string[], more: readonly string[]): string[] {
  const nameOf = (variable: string) => variable.slice(0, variable.indexOf('='))
  const byName = new Map([...before, ...more].map((variable) => [nameOf(variable), variable]))
  return [...byName.values()]
}

/** An OCI manifest, whatever the image before was. @param layers of the image before, then the new one */
export function committedManifest(config: Descriptor, layers: readonly Descriptor[]): Buffer {
  const described = ({ mediaType, digest, sizeBytes }: Descriptor) => ({ mediaType, digest, size: sizeBytes })
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      config: described(config),
      layers: layers.map((layer) => ({ ...described(layer), mediaType: ociLayerType(layer.mediaType) })),
    }),
  )
}

export const layerTypeOf = (compression: 'none' | 'gzip' | 'zstd'): string =>
  `application/vnd.oci.image.layer.v1.tar${compression === 'none' ? '' : `+${compression}`}`

function ociLayerType(mediaType: string): string {
  const { compression, foreign } = layerFormat(mediaType)
  if (!foreign) return layerTypeOf(compression)
  throw new PurserError('failed_precondition', `the image has a layer that may not be distributed (${mediaType})`, {
    remedy: 'commit a container of another image',
  })
}
