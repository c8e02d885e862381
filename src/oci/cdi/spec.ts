import { z } from 'zod'
import { CDI_DEVICE_NAME, CDI_KIND } from './name.ts'

/** Versions of the specification that are understood. */
export const CDI_VERSIONS = ['0.3.0', '0.4.0', '0.5.0', '0.6.0', '0.7.0', '0.8.0', '1.0.0'] as const

const path = z.string().max(4095).startsWith('/', 'a path is absolute')
const texts = z.array(z.string().max(131_071)).max(1024)
const id = z.int().min(0).max(0xffffffff)

const deviceNode = z.strictObject({
  path,
  hostPath: path.optional(),
  type: z.enum(['b', 'c', 'u', 'p', '']).optional(),
  major: z.int().optional(),
  minor: z.int().optional(),
  fileMode: z.int().optional(),
  permissions: z
    .string()
    .regex(/^[rwm]{0,3}$/)
    .optional(),
  uid: id.optional(),
  gid: id.optional(),
})

export const HOOK_NAMES = [
  'prestart',
  'createRuntime',
  'createContainer',
  'startContainer',
  'poststart',
  'poststop',
] as const

const hook = z.strictObject({
  hookName: z.enum(HOOK_NAMES),
  path,
  args: texts.optional(),
  env: texts.optional(),
  timeout: z.int().optional(),
})

const mount = z.strictObject({
  hostPath: z.string().max(4095),
  containerPath: path,
  type: z.string().max(64).optional(),
  options: texts.optional(),
})

const containerEdits = z.strictObject({
  env: z
    .array(z.string().regex(/^[^=\0]+=[^\0]*$/, 'a variable is KEY=VALUE'))
    .max(1024)
    .optional(),
  deviceNodes: z.array(deviceNode).max(1024).optional(),
  hooks: z.array(hook).max(256).optional(),
  mounts: z.array(mount).max(1024).optional(),
  additionalGids: z.array(id).max(1024).optional(),
})
export type CdiEdits = z.output<typeof containerEdits>
export type CdiDeviceNode = z.output<typeof deviceNode>

const annotations = z.record(z.string(), z.string()).optional()

/**
 * A file that tells what devices of one kind come to. What a version has that is not understood, as `intelRdt`, is refused.
 *
 * @see container-device-interface, SPEC.md
 */
export const cdiSpec = z.strictObject({
  cdiVersion: z.enum(CDI_VERSIONS, {
    error: ({ input }) => `version ${JSON.stringify(input)} is none of ${CDI_VERSIONS.join(', ')}`,
  }),
  kind: z.string().max(256).regex(CDI_KIND, 'a kind is vendor.com/class'),
  annotations,
  devices: z
    .array(
      z.strictObject({
        name: z.string().regex(new RegExp(`^${CDI_DEVICE_NAME}$`), 'a name is letters, digits and inner _ - . :'),
        annotations,
        containerEdits,
      }),
    )
    .min(1)
    .max(4096)
    .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, 'a device is there twice'),
  containerEdits: containerEdits.optional(),
})
export type CdiSpec = z.output<typeof cdiSpec>
