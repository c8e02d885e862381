import { z } from 'zod'
import { digestSchema } from '../../../model/digest.ts'
import { PurserError } from '../../../model/errors.ts'
import type { NodeSignatures } from '../../../secrets/node-signatures.ts'

/** The archive of a checkpoint: a tar with this entry first, and then the files that it lists. */
export const MANIFEST_NAME = 'manifest'
/** As CRIU says it in a page or two for each process. */
export const MANIFEST_BYTES_MAX = 4 * 1024 * 1024
const FILES_MAX = 20_000
const FORMAT = 'purser-checkpoint-archive/1\n'

/** The layer, or an image of CRIU: a name that leads nowhere. */
const fileName = z.string().regex(/^(?:layer\.tar|images\/[A-Za-z0-9][A-Za-z0-9._-]{0,250})$/)

/** What the files are, and where they can be restored: compared with what there is here, and never taken over. */
const manifestSchema = z.strictObject({
  imageConfig: digestSchema,
  runtime: z.string().max(256),
  criu: z.string().max(64),
  architecture: z.string().max(64),
  files: z
    .array(z.strictObject({ name: fileName, sizeBytes: z.int().nonnegative(), digest: digestSchema }))
    .max(FILES_MAX)
    .refine((files) => new Set(files.map(({ name }) => name)).size === files.length, 'a file is listed twice'),
})
export type ArchiveManifest = z.output<typeof manifestSchema>

export const signedManifest = (manifest: ArchiveManifest, signatures: NodeSignatures): Buffer =>
  Buffer.from(signatures.sign(`${FORMAT}${JSON.stringify(manifest)}\n`))

/** @throws PurserError permission_denied for one of a node that is not trusted, data_loss for what is none */
export function openManifest(bytes: Buffer, signatures: NodeSignatures): ArchiveManifest {
  const text = signatures.open(bytes.toString('utf8'))
  if (!text.startsWith(FORMAT)) throw notAnArchive('its manifest is of another kind')
  const parsed = manifestSchema.safeParse(jsonOf(text.slice(FORMAT.length)))
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw notAnArchive(`its manifest: ${issue?.path.join('.')}: ${issue?.message}`)
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw notAnArchive('its manifest is no JSON', error)
  }
}

export const notAnArchive = (why: string, cause?: unknown): PurserError =>
  new PurserError('data_loss', `this is no archive of a checkpoint, or not a whole one: ${why}`, {
    cause,
    remedy: 'export it again: purser checkpoint export',
  })
