import { type FileHandle, open } from 'node:fs/promises'
import { posix } from 'node:path'
import { printable } from '../host/byte-paths.ts'
import { BLOCK_BYTES, isZeroBlock, parseHeader, type RawHeader } from '../layers/tar/header.ts'
import { noExtensions, parsePax } from '../layers/tar/pax.ts'
import { PurserError, toPurserError } from '../model/errors.ts'

/** Where a file's bytes are in the tar. */
export interface Member {
  offset: number
  sizeBytes: number
}

/** Archives of images have a few files for each layer. */
const MEMBERS_MAX = 50_000
const NAME_BYTES_MAX = 4096
const EXTENSION_BYTES_MAX = 64 * 1024
const LINKS_MAX = 8
const CHUNK_BYTES = 1024 * 1024

/**
 * The files of a tar that lies on disk, by name; nothing of it is unpacked. What no archive of images needs is refused: names
 * that leave it, names that come twice, hard links and devices. A symbolic link may name a file within: docker once wrote a
 * layer that two images share so.
 */
export class TarFile implements AsyncDisposable {
  readonly #file: FileHandle
  readonly #members: ReadonlyMap<string, Member>
  readonly #links: ReadonlyMap<string, string>

  private constructor(file: FileHandle, members: ReadonlyMap<string, Member>, links: ReadonlyMap<string, string>) {
    this.#file = file
    this.#members = members
    this.#links = links
  }

  /** @throws PurserError data_loss when it is no whole tar; invalid_argument for what is refused */
  static async open(path: string, signal: AbortSignal): Promise<TarFile> {
    const file = await open(path, 'r').catch((error: unknown) => {
      throw toPurserError(error)
    })
    try {
      const { members, links } = await new Scan(file, (await file.stat()).size).run(signal)
      return new TarFile(file, members, links)
    } catch (error) {
      await file.close()
      throw error
    }
  }

  has(name: string): boolean {
    return this.#find(name) !== undefined
  }

  sizeOf(name: string): number | undefined {
    return this.#find(name)?.sizeBytes
  }

  /** A small file, whole. @throws PurserError not_found; resource_exhausted beyond `bytesMax` */
  async read(name: string, bytesMax: number): Promise<Buffer> {
    const { offset, sizeBytes } = this.#member(name)
    if (sizeBytes > bytesMax) {
      throw new PurserError(
        'resource_exhausted',
        `${name} has ${sizeBytes} bytes in the archive, and ${bytesMax} are allowed`,
        {
          remedy: 'use an image with a smaller manifest and configuration',
        },
      )
    }
    const bytes = Buffer.alloc(sizeBytes)
    await readFully(this.#file, bytes, offset, name)
    return bytes
  }

  /** The bytes of a file; a piece is valid until the next one is asked for. @throws PurserError not_found */
  async *chunks(name: string): AsyncGenerator<Buffer, void, void> {
    const { offset, sizeBytes } = this.#member(name)
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, sizeBytes))
    for (let at = 0; at < sizeBytes; ) {
      const piece = buffer.subarray(0, Math.min(CHUNK_BYTES, sizeBytes - at))
      await readFully(this.#file, piece, offset + at, name)
      yield piece
      at += piece.length
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close()
  }

  #member(name: string): Member {
    const found = this.#find(name)
    if (found) return found
    throw new PurserError('not_found', `the archive has no file ${JSON.stringify(name)}, which it refers to`, {
      remedy: 'save the image again',
    })
  }

  #find(name: string): Member | undefined {
    let at = name
    for (let hops = 0; hops <= LINKS_MAX; hops++) {
      const member = this.#members.get(at)
      if (member) return member
      const target = this.#links.get(at)
      if (target === undefined) return undefined
      at = target
    }
    return undefined
  }
}

/** One reading of all headers. */
class Scan {
  readonly members = new Map<string, Member>()
  readonly links = new Map<string, string>()
  readonly #file: FileHandle
  readonly #sizeBytes: number
  #path: string | undefined
  #linkPath: string | undefined
  #dataBytes: number | undefined

  constructor(file: FileHandle, sizeBytes: number) {
    this.#file = file
    this.#sizeBytes = sizeBytes
  }

  async run(signal: AbortSignal): Promise<this> {
    const block = Buffer.alloc(BLOCK_BYTES)
    let at = 0
    while (at + BLOCK_BYTES <= this.#sizeBytes) {
      signal.throwIfAborted()
      await readFully(this.#file, block, at, 'a header')
      if (isZeroBlock(block)) return this
      at = await this.#entry(headerAt(block, at), at + BLOCK_BYTES)
    }
    if (at === 0) throw damaged('it is no tar')
    return this
  }

  /** @returns where the next header is */
  async #entry(header: RawHeader, dataAt: number): Promise<number> {
    const flag = String.fromCharCode(header.typeflag)
    const isExtension = 'xXgLK'.includes(flag)
    const dataBytes = isExtension ? header.dataBytes : (this.#dataBytes ?? header.dataBytes)
    const end = dataAt + Math.ceil(dataBytes / BLOCK_BYTES) * BLOCK_BYTES
    if (dataBytes < 0 || dataAt + dataBytes > this.#sizeBytes) throw damaged(`it ends within ${printable(header.name)}`)
    if (isExtension) {
      await this.#extension(flag, dataAt, dataBytes)
      return end
    }
    const name = nameOf(this.#path ?? header.name)
    const linkName = this.#linkPath ?? header.linkName
    this.#path = undefined
    this.#linkPath = undefined
    this.#dataBytes = undefined
    if (flag === '5' || (name === '' && flag !== '2')) return end
    if (this.members.has(name) || this.links.has(name)) throw refused(name, 'it is there twice')
    if (this.members.size + this.links.size >= MEMBERS_MAX)
      throw refused(name, `there are more than ${MEMBERS_MAX} files`)
    if (flag === '0' || flag === '\0' || flag === '7') this.members.set(name, { offset: dataAt, sizeBytes: dataBytes })
    else if (flag === '2') this.links.set(name, targetOf(name, linkName))
    else throw refused(name, 'it is neither a file nor a directory')
    return end
  }

  async #extension(flag: string, dataAt: number, dataBytes: number): Promise<void> {
    if (dataBytes > EXTENSION_BYTES_MAX) throw damaged(`an extended header has ${dataBytes} bytes`)
    const body = Buffer.alloc(dataBytes)
    await readFully(this.#file, body, dataAt, 'an extended header')
    if (flag === 'g') return // Of no account for a name or a size.
    if (flag === 'L') this.#path = upToZero(body)
    else if (flag === 'K') this.#linkPath = upToZero(body)
    else {
      const found = noExtensions()
      wellFormed(() => parsePax(body, found), dataAt)
      if (found.path !== undefined) this.#path = found.path
      if (found.linkPath !== undefined) this.#linkPath = found.linkPath
      if (found.sizeBytes !== undefined) this.#dataBytes = found.sizeBytes
    }
  }
}

const headerAt = (block: Buffer, at: number): RawHeader => wellFormed(() => parseHeader(block), at)

function wellFormed<T>(parse: () => T, at: number): T {
  try {
    return parse()
  } catch (cause) {
    throw damaged(`there is no header at byte ${at}`, cause)
  }
}

/** Without `./` before and slashes behind. @throws PurserError invalid_argument for what leaves the archive */
function nameOf(given: string): string {
  const isOutside = given.startsWith('/') || given.split('/').includes('..')
  if (isOutside) throw refused(given, 'its name leads out of the archive')
  if (given.length > NAME_BYTES_MAX || given.includes('\0')) throw refused(given, 'it has no proper name')
  const name = posix.normalize(given).replace(/\/+$/, '')
  return name === '.' ? '' : name
}

function targetOf(name: string, linkName: string): string {
  const target = posix.join(posix.dirname(name), linkName)
  if (linkName.startsWith('/') || target === '..' || target.startsWith('../')) {
    throw refused(name, 'it is a link that leads out of the archive')
  }
  return target
}

async function readFully(file: FileHandle, into: Buffer, position: number, what: string): Promise<void> {
  for (let done = 0; done < into.length; ) {
    const { bytesRead } = await file.read(into, done, into.length - done, position + done)
    if (bytesRead === 0) throw damaged(`it ends within ${what}`)
    done += bytesRead
  }
}

function upToZero(body: Buffer): string {
  const zero = body.indexOf(0)
  return body.toString('latin1', 0, zero < 0 ? body.length : zero)
}

function damaged(why: string, cause?: unknown): PurserError {
  const remedy = 'give it an archive of images, whole: purser save, docker save, skopeo copy … oci-archive:'
  return new PurserError('data_loss', `the archive cannot be read: ${why}`, { remedy, cause })
}

function refused(name: string, why: string): PurserError {
  return new PurserError('invalid_argument', `the archive is refused for its entry ${printable(name)}: ${why}`, {
    remedy: 'have it made anew by a tool that writes only what an archive of images needs',
  })
}
