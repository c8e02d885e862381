import type { z } from 'zod'

/** From the data of one version of an event to that of the next. Pure, and kept for ever: old logs are read through it. */
export type Upcast = (data: Record<string, unknown>) => Record<string, unknown>

/** One type of event: what it means, and the shape that its data has now. */
export interface EventSchema<S extends z.ZodType = z.ZodType> {
  /** Recorded with each event; raised whenever the shape changes. */
  version: number
  /** What has happened, as one clause. */
  meaning: string
  data: S
  /** The first makes version 2 of version 1, and so on up to the present one. */
  upcasts: readonly Upcast[]
}

export type EventSchemas = Readonly<Record<string, EventSchema>>

/**
 * Declares a type of event.
 *
 * @param upcasts one for each version before this one, oldest first
 */
export function event<S extends z.ZodType>(
  version: number,
  meaning: string,
  data: S,
  ...upcasts: Upcast[]
): EventSchema<S> {
  if (upcasts.length !== version - 1) {
    throw new Error(
      `"${meaning}" is at version ${version} and has ${upcasts.length} upcasts: one is needed for each step`,
    )
  }
  return { version, meaning, data, upcasts }
}
