import { BLOCK_BYTES } from '../layers/tar/header.ts'
import type { Digest } from '../model/digest.ts'
import { PurserError } from '../model/errors.ts'
import type { Descriptor } from '../oci/manifest.ts'
import { MEDIA_TYPES } from '../oci/media-types.ts'
import { parseReference } from '../oci/reference.ts'

/** One name in an archive, and what it stands for. */
export interface NamedImage {
  /** Canonical. */
  name: string
  target: Descriptor
  /** Of the platform that docker's older readers get. */
  config: Digest
  layers: readonly Digest[]
}

export interface ArchiveContents {
  images: readonly NamedImage[]
  /** All blobs that the images need, each once. */
  blobs: readonly { digest: Digest; sizeBytes: number }[]
  open(digest: Digest): AsyncIterable<Uint8Array>
}

const pathOf = (digest: Digest): string => `blobs/${digest.replace(':', '/')}`
const NAME_BYTES = 100
/** Eleven octal digits. */
const OCTAL_BYTES_MAX = 0o77777777777

/**
 * An OCI layout that is what docker loads as well, as a tar. Reading it drives the writing: no more than a piece is in memory.
 *
 * @throws the reason of the signal; whatever a blob's bytes throw
 * @see image-spec, image-layout.md; moby, image/tarexport/save.go; POSIX pax, "ustar Interchange Format"
 */
export async function* archiveOf(
  { images, blobs, open }: ArchiveContents,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  yield document('oci-layout', { imageLayoutVersion: '1.0.0' })
  yield document('index.json', indexOf(images))
  yield document('manifest.json', dockerManifest(images))
  for (const { digest, sizeBytes } of blobs) {
    signal.throwIfAborted()
    yield header(pathOf(digest), sizeBytes)
    let left = sizeBytes
    for await (const piece of open(digest)) {
      signal.throwIfAborted()
      left -= piece.length
      if (left < 0) break
      yield piece
    }
    if (left !== 0) throw new PurserError('data_loss', `content ${digest} has not ${sizeBytes} bytes any more`)
    yield padding(sizeBytes)
  }
  yield Buffer.alloc(2 * BLOCK_BYTES)
}

function document(name: string, value: unknown): Buffer {
  const bytes = Buffer.from(JSON.stringify(value))
  return Buffer.concat([header(name, bytes.length), bytes, padding(bytes.length)])
}

const padding = (sizeBytes: number): Buffer => Buffer.alloc((BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES)

/** A file of root's, from 1970, so that the same images give the same archive; after a pax header where the name or size needs one. */
function header(name: string, sizeBytes: number): Buffer {
  if (name.length <= NAME_BYTES && sizeBytes <= OCTAL_BYTES_MAX) return block(name, sizeBytes, '0')
  const records = Buffer.from(paxRecord('path', name) + paxRecord('size', String(sizeBytes)))
  const short = name.slice(-NAME_BYTES)
  return Buffer.concat([
    block(`pax/${short.slice(4)}`, records.length, 'x'),
    records,
    padding(records.length),
    block(short, sizeBytes > OCTAL_BYTES_MAX ? 0 : sizeBytes, '0'),
  ])
}

function block(name: string, sizeBytes: number, flag: '0' | 'x'): Buffer {
  const bytes = Buffer.alloc(BLOCK_BYTES)
  bytes.write(name, 0, NAME_BYTES, 'latin1')
  const octal = (value: number, at: number, length: number) =>
    bytes.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, length, 'latin1')
  octal(0o644, 100, 8)
  octal(0, 108, 8)
  octal(0, 116, 8)
  octal(sizeBytes, 124, 12)
  octal(0, 136, 12)
  bytes.write(`        ${flag}`, 148, 'latin1')
  bytes.write('ustar\x0000', 257, 'latin1')
  const sum = bytes.reduce((total, byte) => total + byte, 0)
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 8, 'latin1')
  return bytes
}

/** Its length counts itself. */
function paxRecord(keyword: string, value: string): string {
  const rest = ` ${keyword}=${value}\n`
  let length = rest.length + 1
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length
  return `${length}${rest}`
}

function indexOf(images: readonly NamedImage[]): object {
  const tags = images.map(({ name }) => parseReference(name).tag)
  const manifests = images.map(({ name, target }, index) => {
    const tag = tags[index]
    const isUnique = tag !== undefined && tags.indexOf(tag) === tags.lastIndexOf(tag)
    return {
      mediaType: target.mediaType,
      digest: target.digest,
      size: target.sizeBytes,
      annotations: {
        'io.containerd.image.name': name,
        'org.opencontainers.image.ref.name': isUnique ? tag : name,
      },
    }
  })
  return { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests }
}

/** One entry for each configuration, with all names that it has. */
function dockerManifest(images: readonly NamedImage[]): object[] {
  const byConfig = Map.groupBy(images, ({ config }) => config)
  return [...byConfig.values()].flatMap((same) => {
    const [first] = same
    if (!first) return []
    const tags = same.filter(({ name }) => parseReference(name).tag !== undefined).map(({ name }) => name)
    return [{ Config: pathOf(first.config), RepoTags: tags, Layers: first.layers.map(pathOf) }]
  })
}
