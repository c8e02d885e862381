import { z } from 'zod'
import { durationMs } from './duration-form.ts'

/** A duration in a configuration file, as milliseconds. */
export const duration = z.string().transform((text, context) => {
  const ms = durationMs(text)
  if (ms !== undefined) return ms
  context.addIssue({ code: 'custom', message: 'write a duration such as 30s, 15m or 1h30m' })
  return z.NEVER
})
