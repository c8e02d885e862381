import { z } from 'zod'
import { DEFAULT_LIMITS, type LayerLimits } from '../layers/limits.ts'
import type { ProxyOptions } from '../snapshotters/proxy.ts'

/** A bound of what one layer may ask for. */
const limit = (name: Exclude<keyof LayerLimits, 'devices'>, max = Number.MAX_SAFE_INTEGER) =>
  z.int().min(1).max(max).default(DEFAULT_LIMITS[name])

/** `[unpack]` */
export const unpackSchema = z
  .strictObject({
    tarBytesMax: limit('tarBytesMax').describe('bytes of a layer, decompressed'),
    entriesMax: limit('entriesMax').describe('files and directories of a layer'),
    pathBytesMax: limit('pathBytesMax', 4095).describe('of a name with its directories'),
    pathDepthMax: limit('pathDepthMax').describe('directories that a name leads through'),
    extendedHeaderBytesMax: limit('extendedHeaderBytesMax', 2 ** 28).describe('of one header with pax records'),
    xattrsMax: limit('xattrsMax').describe('extended attributes of one file'),
    xattrBytesMax: limit('xattrBytesMax', 65_536).describe('of one extended attribute'),
    ratioMax: limit('ratioMax').describe('bytes for each compressed one'),
    ratioFromBytes: limit('ratioFromBytes').describe('from which on the ratio counts'),
    devices: z.enum(['allow', 'skip', 'refuse']).default('allow').describe('device nodes in a layer'),
  })
  .prefault({})

const snapshotterName = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,62}$/, 'a snapshotter name is small letters, digits and hyphens, and begins with a letter')

const proxySnapshotter = z.strictObject({
  type: z.literal('proxy', 'the only type is "proxy"'),
  address: z.string().startsWith('/', 'the path of a Unix socket: begin it with /'),
  snapshotter: z.string().min(1).optional().describe('what the other process calls it; the same by default'),
  namespace: z.string().min(1).default('purser').describe("containerd's namespace of what is kept there"),
})

/** `[snapshotter.NAME]` */
export const snapshotterSchema = z
  .record(snapshotterName, proxySnapshotter)
  .default({})
  .describe('snapshotters of other processes, by name')

/** Left out, what the other process calls it is its name here. */
export const proxiesOf = (given: z.output<typeof snapshotterSchema>): Record<string, ProxyOptions> =>
  Object.fromEntries(
    Object.entries(given).map(([name, proxy]) => [name, { ...proxy, snapshotter: proxy.snapshotter ?? name }]),
  )
