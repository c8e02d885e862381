import { z } from 'zod'

/** What a file system of its own takes for itself, and some to write to. */
const BYTES_MIN = 16 * 1024 * 1024

/** Of a file system of its own. */
export const fileSystemBytes = z
  .int()
  .min(BYTES_MIN, `a size is ${BYTES_MIN} bytes (16 MiB) at least`)
  .max(2 ** 44, 'a size is 16 TiB at most')

export const storageBytes = fileSystemBytes.describe('what may be written beside the image, at most, in bytes')
