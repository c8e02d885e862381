import { PurserError } from '../model/errors.ts'

/** What becomes of device nodes in a layer. A container reaches none that its runtime does not allow. */
export type DevicePolicy = 'allow' | 'skip' | 'refuse'

/** What one layer may ask of the host; in the configuration by the same names. The defaults are far above real images. */
export interface LayerLimits {
  /** Bytes of the tar, decompressed. */
  tarBytesMax: number
  /** Entries of the tar. */
  entriesMax: number
  /** Bytes of a path or link target; the kernel takes no more than 4095. */
  pathBytesMax: number
  /** Directories that a path leads through. */
  pathDepthMax: number
  /** Bytes of one extended header: pax records, a GNU long name, a sparse map. */
  extendedHeaderBytesMax: number
  /** Extended attributes of one entry. */
  xattrsMax: number
  /** Bytes of one extended attribute; the kernel takes no more than 65536. */
  xattrBytesMax: number
  /** Decompressed bytes per compressed byte; looked at once `ratioFromBytes` have come out. */
  ratioMax: number
  ratioFromBytes: number
  devices: DevicePolicy
}

export const DEFAULT_LIMITS: LayerLimits = {
  tarBytesMax: 512 * 2 ** 30,
  entriesMax: 5_000_000,
  pathBytesMax: 4095,
  pathDepthMax: 256,
  extendedHeaderBytesMax: 2 ** 20,
  xattrsMax: 256,
  xattrBytesMax: 65_536,
  // gzip gives 1032 at most, for zeros; images have 2 to 10.
  ratioMax: 500,
  ratioFromBytes: 2 ** 30,
  devices: 'allow',
}

/** @param key of the limit, which is also its name in the configuration */
export function overLimit(what: string, key: keyof LayerLimits, limit: number): PurserError {
  return new PurserError('resource_exhausted', `the layer has ${what}, the limit is ${limit}`, {
    remedy: `raise unpack.${key} in the configuration if the image can be trusted`,
  })
}
