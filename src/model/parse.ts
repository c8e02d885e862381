import type { z } from 'zod'
import { PurserError } from './errors.ts'

/** Parses outside data; the error names the field and what is wrong with it. */
export function parse<T>(schema: z.ZodType<T>, value: unknown, at: string): T {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  // Of a field that nobody knows, the issue is with the object that has it.
  const place = [...(issue?.path ?? []), ...(issue?.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : [])]
  const path = [at, ...place].filter((part) => part !== '').join('.')
  const given = valueAt(value, place)
  const shown = given === undefined ? '' : `: ${JSON.stringify(given)?.slice(0, 100)}`
  throw new PurserError('invalid_argument', `${path || 'request'}${shown}: ${issue?.message ?? 'not valid'}`, {
    field: path,
    remedy: 'see /v1/openapi.json for what is expected',
  })
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at = value
  for (const key of path) at = typeof at === 'object' && at !== null ? Reflect.get(at, key) : undefined
  return typeof at === 'object' ? undefined : at
}
