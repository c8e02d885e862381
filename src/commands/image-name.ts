import { z } from 'zod'
import { formatReference, parseReference } from '../oci/reference.ts'

/** Any reference that docker understands; the canonical name (docker.io/library/x:latest) is what is stored. */
export const imageName = z.string().transform((text, context) => {
  try {
    return formatReference(parseReference(text))
  } catch (error) {
    context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : String(error) })
    return z.NEVER
  }
})
