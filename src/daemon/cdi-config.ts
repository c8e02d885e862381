import { z } from 'zod'

/** `[cdi]`: where vendors describe their devices. */
export const cdiSchema = z
  .strictObject({
    specDirs: z
      .array(z.string().startsWith('/', 'a directory is an absolute path: begin it with /'))
      .max(16)
      .default(['/etc/cdi', '/var/run/cdi'])
      .describe('of a device that is in several, the last one counts'),
  })
  .prefault({})
