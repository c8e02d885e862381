import { PurserError } from '../model/errors.ts'

/** What one layer may ask of the host. The defaults are far above what real images need. */
export interface LayerLimits {
  /** Bytes of the tar, decompressed. */
  tarBytesMax: number
  /** Entries of the tar. */
  entriesMax: number
  /** Bytes of a path or link target; the kernel takes no more than 4095. */
  pathBytesMax: number
  /** Bytes of one extended header: pax records, a GNU long name, a sparse map. */
  extendedHeaderBytesMax: number
  /** Extended attributes of one entry. */
  xattrsMax: number
  /** Decompressed bytes per compressed byte; looked at once `ratioFromBytes` have come out. */
  ratioMax: number
  ratioFromBytes: number
}

export const DEFAULT_LIMITS: LayerLimits = {
  tarBytesMax: 512 * 2 ** 30,
  entriesMax: 5_000_000,
  pathBytesMax: 4095,
  extendedHeaderBytesMax: 2 ** 20,
  xattrsMax: 256,
  ratioMax: 2000,
  ratioFromBytes: 2 ** 30,
}

export function overLimit(what: string, limit: number): PurserError {
  return new PurserError('resource_exhausted', `the layer has ${what}, the limit is ${limit}`, {
    remedy: 'raise the limit in the configuration if the image can be trusted',
  })
}
