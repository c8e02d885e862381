import { z } from 'zod'
import { parseVerifier } from '../archive/note.ts'
import { toPurserError } from '../model/errors.ts'

const verifierKey = z.string().transform((text, context) => {
  try {
    return parseVerifier(text)
  } catch (error) {
    context.addIssue({ code: 'custom', message: toPurserError(error).message })
    return z.NEVER
  }
})

/** `[checkpoints]`. */
export const checkpointsSchema = z
  .strictObject({
    trustedKeys: z
      .array(verifierKey)
      .default([])
      .describe('of nodes whose archives of checkpoints are restored here, besides its own; purser log key prints one'),
  })
  .prefault({})
