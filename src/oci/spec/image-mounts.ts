import { z } from 'zod'
import { formatReference, parseReference } from '../reference.ts'

const image = z.string().transform((text, context) => {
  try {
    return formatReference(parseReference(text))
  } catch (error) {
    context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : String(error) })
    return z.NEVER
  }
})

/** Images whose files are mounted into a container, besides its own. */
export const imageMounts = z
  .array(
    z.strictObject({
      image: image.describe('image reference, as docker understands it'),
      target: z
        .string()
        .max(4095)
        .regex(
          /^(?:\/(?!\.{1,2}(?:\/|$))[^/\0]+)+\/?$/,
          'a mount target is absolute, not / itself, and has no . or .. or // in it',
        )
        .describe('path in the container'),
    }),
  )
  .min(1)
  .max(32)
  .describe('files of other images, read-only')
