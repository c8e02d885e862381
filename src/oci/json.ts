import { z } from 'zod'
import { PurserError } from '../model/errors.ts'

const TEXTS_MAX = 1000
const TEXTS_BYTES_MAX = 256 * 1024
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Bytes from outside as JSON.
 *
 * @param what names the document in the error, such as `image manifest`
 * @throws PurserError invalid_argument when they are not UTF-8 or not JSON
 */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(utf8.decode(bytes))
  } catch (cause) {
    throw refused(what, 'it is not JSON in UTF-8', { cause })
  }
}

/**
 * A parsed document as its schema has it.
 *
 * @throws PurserError invalid_argument, naming the first field at fault
 */
export function parseSchema<T>(schema: z.ZodType<T>, document: unknown, what: string): T {
  const result = schema.safeParse(document)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  const field = issue?.path.map(String).join('.') ?? ''
  throw refused(what, `${field === '' ? '' : `${field}: `}${issue?.message ?? 'it does not follow its schema'}`, {
    cause: result.error,
    field,
  })
}

export function refused(what: string, why: string, more: { cause?: unknown; field?: string } = {}): PurserError {
  const remedy = 'the image is damaged or made by a faulty tool: build and push it again'
  return new PurserError('invalid_argument', `this ${what} is refused: ${why}`, { remedy, ...more })
}

/**
 * Text by key, as annotations and labels are. What they hold is shown and passed on, so that there is a measure to it.
 *
 * @see image-spec, annotations.md
 */
export const boundedTexts = z
  .record(z.string().max(1024), z.string())
  .refine((all) => Object.keys(all).length <= TEXTS_MAX, `more than ${TEXTS_MAX} of them`)
  .refine((all) => bytesOf(all) <= TEXTS_BYTES_MAX, `more than ${TEXTS_BYTES_MAX} bytes of them`)

const bytesOf = (all: Readonly<Record<string, string>>): number =>
  Object.entries(all).reduce((sum, [key, text]) => sum + key.length + text.length, 0)

/** Docker's Go tools write `null` for what is empty: it means the default here. */
export const nullable = <T extends z.ZodType>(schema: T, empty: z.output<T>) =>
  schema.nullish().transform((value): z.output<T> => value ?? empty)
