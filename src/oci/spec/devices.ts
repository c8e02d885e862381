import { z } from 'zod'
import { parseCdiName } from '../cdi/name.ts'
import type { Device, DeviceRule } from './schema.ts'

const hostPath = z
  .string()
  .max(4095)
  .regex(/^\/(?!.*\0)/, 'a device has an absolute path: /dev/fuse')

export const permissions = z
  .string()
  .regex(/^(?!.*(.).*\1)[rwm]{1,3}$/, 'permissions are of r (read), w (write) and m (mknod), each once')

const DEVICE_RULE = /^([abc]) (\d{1,10}|\*):(\d{1,10}|\*) ([rwm]{1,3})$/

export const deviceOptions = {
  devices: z
    .array(
      z.strictObject({
        path: hostPath.describe('device of the host, or a directory of them'),
        target: hostPath.optional().describe('path in the container; the same by default'),
        permissions: permissions.default('rwm'),
      }),
    )
    .min(1)
    .max(256)
    .optional()
    .describe('devices of the host'),
  cdiDevices: z
    .array(
      z.string().refine((text) => parseCdiName(text) !== undefined, {
        error: ({ input }) => `${JSON.stringify(input)} is no CDI device: one is vendor.com/class=name`,
      }),
    )
    .min(1)
    .max(256)
    .optional()
    .describe('devices that their vendors describe, as vendor.com/class=name'),
  deviceRules: z
    .array(z.string().regex(DEVICE_RULE, 'a rule is written "c 10:229 rwm", with * for any number'))
    .min(1)
    .max(256)
    .optional()
    .describe('rules for the device cgroup'),
}

/** A device of the host that a container is given. */
export interface GivenDevice extends Device {
  permissions: string
}

/** What a container may do with devices that it is given. A FIFO is no device to the cgroup; `u` is another word for `c`. */
export const rulesFor = (devices: readonly GivenDevice[]): DeviceRule[] =>
  devices.flatMap(({ type, major, minor, permissions: access }) =>
    type === 'p' ? [] : [{ allow: true, type: type === 'u' ? 'c' : type, major, minor, access }],
  )

/** Rules as the schema lets them through. */
export const parseDeviceRules = (texts: readonly string[]): DeviceRule[] =>
  texts.flatMap((text): DeviceRule[] => {
    const [, type, major, minor, access] = DEVICE_RULE.exec(text) ?? []
    if (access === undefined || (type !== 'a' && type !== 'b' && type !== 'c')) return []
    return [
      {
        allow: true,
        type,
        ...(major === '*' ? {} : { major: Number(major) }),
        ...(minor === '*' ? {} : { minor: Number(minor) }),
        access,
      },
    ]
  })
