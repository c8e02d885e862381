import { z } from 'zod'
import { digestSchema } from '../model/digest.ts'
import { imageHealthcheck } from './health-check.ts'
import { boundedTexts, nullable, parseJson, parseSchema } from './json.ts'
import { platformSchema } from './platform.ts'

const strings = nullable(z.array(z.string()), [])
// Docker has always read a bare string as a list of one.
const argv = nullable(z.union([z.array(z.string()), z.string().transform((word) => [word])]), [])
/** Go writes a set as an object of empty objects: the keys are what counts. */
const keys = nullable(
  z.record(z.string(), z.unknown()).transform((set) => Object.keys(set)),
  [],
)
const optionalText = z
  .string()
  .nullish()
  .transform((text) => text || undefined)

/** What runtimes and their clients mean something by: an image must not be able to say it. @see containerd, docs/garbage-collection.md */
const RESERVED = /^(?:(?:io\.)?containerd(?:\.io)?[./]|io\.cri-containerd[./]|nerdctl\/|purser[./])/

const withoutReserved = (labels: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(labels).filter(([key]) => !RESERVED.test(key)))

const execution = z
  .object({
    User: nullable(z.string(), ''),
    Env: strings,
    Entrypoint: argv,
    Cmd: argv,
    WorkingDir: nullable(z.string(), ''),
    Labels: nullable(boundedTexts.transform(withoutReserved), {}),
    StopSignal: optionalText,
    ExposedPorts: keys,
    Volumes: keys,
    // What it says there is advice: an image whose check cannot be read is run without one.
    Healthcheck: imageHealthcheck.optional().catch(undefined),
  })
  .transform((given) => ({
    /** `user[:group]`, names or numbers, as the image's author wrote it; empty for root. */
    user: given.User,
    /** `NAME=value` */
    env: given.Env,
    entrypoint: given.Entrypoint,
    cmd: given.Cmd,
    /** Empty where the image names none. */
    workingDir: given.WorkingDir,
    labels: given.Labels,
    stopSignal: given.StopSignal,
    /** `port`, `port/tcp`, `port/udp` */
    exposedPorts: given.ExposedPorts,
    /** Paths in the container. */
    volumes: given.Volumes,
    healthcheck: given.Healthcheck,
  }))

const history = z
  .object({
    created: optionalText,
    created_by: optionalText,
    author: optionalText,
    comment: optionalText,
    empty_layer: nullable(z.boolean(), false),
  })
  .transform((given) => ({
    created: given.created,
    createdBy: given.created_by,
    author: given.author,
    comment: given.comment,
    /** It made no layer, so there is no diff ID for it. */
    emptyLayer: given.empty_layer,
  }))

const imageConfigSchema = z
  .looseObject({
    created: optionalText,
    author: optionalText,
    config: nullable(execution, execution.parse({})),
    rootfs: z.object({ type: z.literal('layers'), diff_ids: nullable(z.array(digestSchema), []) }),
    history: nullable(z.array(history), []),
  })
  .transform(({ created, author, config, rootfs, history, ...rest }, context) => {
    const platform = platformSchema.safeParse(rest)
    if (!platform.success) {
      context.addIssue({ code: 'custom', message: 'it does not say its os and architecture' })
      return z.NEVER
    }
    return { platform: platform.data, created, author, config, diffIds: rootfs.diff_ids, history }
  })

/** An image configuration, in one shape whatever was left out or null. @see image-spec, config.md */
export type ImageConfig = z.output<typeof imageConfigSchema>

/** @throws PurserError invalid_argument, naming the field at fault */
export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  const what = 'image configuration'
  return parseSchema(imageConfigSchema, parseJson(bytes, what), what)
}
