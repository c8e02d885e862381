import { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import type { Digest } from '../model/digest.ts'
import { errorCodeOf, PurserError } from '../model/errors.ts'
import { finalError } from './bodies.ts'
import type { Repository } from './repository.ts'
import { statusFailure } from './status.ts'
import type { TransportResponse } from './transport.ts'

/** A blob on its way to a registry. */
export interface BlobToPush {
  digest: Digest
  sizeBytes: number
  /** Its bytes from one on, up to but without another. */
  open(offset: number, endBytes: number): AsyncIterable<Uint8Array>
  /** Called before each request that carries bytes of it; until what comes of it is disposed they may be sent. */
  turn(signal: AbortSignal): Promise<Disposable>
  /** Repositories of the same registry that are known to have it. */
  mountFrom: readonly string[]
  /** Called with what the registry has of it, as far as it is known. */
  onProgress: (bytes: number) => void
}

export type Pushed = 'present' | 'mounted' | 'uploaded'

const CHUNK_BYTES = 16 * 1024 * 1024
/** More than a registry may ask for would have to be sent again whenever a connection breaks off. */
const CHUNK_BYTES_MAX = 512 * 1024 * 1024
const MOUNTS_TRIED_MAX = 3
const ATTEMPTS_MAX = 5
const BASE_DELAY_MS = 200

/** Where an upload is, and how much of it the registry has. */
interface Session {
  url: URL
  offset: number
  chunkBytes: number
}

/**
 * Pushes to one repository: nothing is sent that is there, and what breaks off goes on where it was.
 *
 * Every method throws PurserError: unauthenticated, permission_denied, unavailable after a few attempts without progress,
 * failed_precondition for a registry that does not keep to the specification.
 *
 * @see distribution-spec, "Push"
 */
export class Uploader {
  readonly #repository: Repository

  constructor(repository: Repository) {
    this.#repository = repository
  }

  /** Brings one blob there. */
  async blob(blob: BlobToPush, signal: AbortSignal): Promise<Pushed> {
    if (await this.#has(`blobs/${blob.digest}`, signal)) return 'present'
    let session: Session | undefined
    for (const from of blob.mountFrom.slice(0, MOUNTS_TRIED_MAX)) {
      const answer = await this.#begin({ mount: blob.digest, from }, signal)
      if (answer === 'mounted') return 'mounted'
      session = answer // An upload has begun instead.
    }
    await this.#upload(blob, session, signal)
    return 'uploaded'
  }

  /**
   * Puts a manifest or an index, once all that it names is there.
   *
   * @param reference a tag or its digest
   */
  async manifest(bytes: Uint8Array, mediaType: string, reference: string, signal: AbortSignal): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        const response = await this.#send(
          {
            path: `manifests/${reference}`,
            method: 'PUT',
            headers: { 'content-type': mediaType, 'content-length': String(bytes.length) },
            body: () => bytes,
          },
          signal,
        )
        if (response.status !== 201 && response.status !== 200 && response.status !== 202) {
          throw await this.#refused(response, `the manifest ${reference}`, signal)
        }
        response.drop()
        return
      } catch (error) {
        await this.#beforeAnother(error, attempt, signal)
      }
    }
  }

  async #has(path: string, signal: AbortSignal): Promise<boolean> {
    const response = await this.#send({ path, method: 'HEAD' }, signal)
    response.drop()
    return response.status === 200
  }

  async #upload(blob: BlobToPush, begun: Session | undefined, signal: AbortSignal): Promise<void> {
    let session = begun
    let failures = 0
    for (;;) {
      const before = session?.offset ?? 0
      try {
        session ??= await this.#fresh(signal)
        while (session.offset < blob.sizeBytes && blob.sizeBytes > session.chunkBytes) {
          await this.#patch(blob, session, signal)
        }
        await this.#finish(blob, session, signal)
        return
      } catch (error) {
        if ((session?.offset ?? 0) > before) failures = 0
        failures += 1
        await this.#beforeAnother(error, failures, signal)
        session = session && (await this.#resumed(session, blob, signal))
      }
    }
  }

  async #fresh(signal: AbortSignal): Promise<Session> {
    const session = await this.#begin({}, signal)
    if (session !== 'mounted') return session
    throw new PurserError('failed_precondition', `${this.#registry} says that an upload is done before it has begun`)
  }

  /** @param query of a mount: the blob and a repository that has it; of an upload: nothing */
  async #begin(query: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Session | 'mounted'> {
    const also = query.from === undefined ? [] : [`repository:${query.from}:pull`]
    const headers = { 'content-length': '0' }
    const response = await this.#send({ path: 'blobs/uploads/', method: 'POST', query, headers }, signal, also)
    if (response.status === 201 && query.from !== undefined) {
      response.drop()
      return 'mounted'
    }
    // That it may not read there is no reason not to write here.
    if (query.from !== undefined && response.status !== 202) {
      response.drop()
      return await this.#begin({}, signal)
    }
    if (response.status !== 202) throw await this.#refused(response, 'an upload', signal)
    response.drop()
    const least = Number(response.header('oci-chunk-min-length') ?? 0)
    return {
      url: locationOf(response),
      offset: 0,
      chunkBytes: Math.min(CHUNK_BYTES_MAX, Math.max(CHUNK_BYTES, Number.isFinite(least) ? least : 0)),
    }
  }

  /** Sends the next chunk. The session is changed only when the registry has taken it. */
  async #patch(blob: BlobToPush, session: Session, signal: AbortSignal): Promise<void> {
    const { offset, url, chunkBytes } = session
    const end = Math.min(offset + chunkBytes, blob.sizeBytes)
    const headers = {
      'content-type': 'application/octet-stream',
      'content-length': String(end - offset),
      'content-range': `${offset}-${end - 1}`,
    }
    const body = () => counted(blob, offset, end)
    using _turn = await blob.turn(signal)
    const response = await this.#send({ path: url, method: 'PATCH', headers, body }, signal)
    if (response.status !== 202 && response.status !== 201 && response.status !== 204) {
      throw await this.#refused(response, `bytes ${offset} to ${end} of ${blob.digest}`, signal)
    }
    response.drop()
    session.url = locationOf(response, url)
    session.offset = arrivedOf(response) ?? end
    if (session.offset > blob.sizeBytes || session.offset <= offset) {
      throw new PurserError('unavailable', `${this.#registry} has taken ${session.offset} bytes of ${blob.digest}`, {
        remedy: 'try again later',
      })
    }
    blob.onProgress(session.offset)
  }

  /** Sends what is left, and has the registry compare the digest. */
  async #finish(blob: BlobToPush, { url, offset }: Session, signal: AbortSignal): Promise<void> {
    const { digest, sizeBytes } = blob
    const leftBytes = sizeBytes - offset
    const headers = { 'content-type': 'application/octet-stream', 'content-length': String(leftBytes) }
    const body = leftBytes > 0 ? { body: () => counted(blob, offset, sizeBytes) } : {}
    using _turn = leftBytes > 0 ? await blob.turn(signal) : undefined
    const response = await this.#send({ path: url, method: 'PUT', query: { digest }, headers, ...body }, signal)
    if (response.status !== 201 && response.status !== 204 && response.status !== 202) {
      throw await this.#refused(response, digest, signal)
    }
    response.drop()
    blob.onProgress(sizeBytes)
  }

  /** What the registry has of an upload that broke off; undefined when it knows nothing of it any more. */
  async #resumed(session: Session, blob: BlobToPush, signal: AbortSignal): Promise<Session | undefined> {
    try {
      const response = await this.#send({ path: session.url, method: 'GET' }, signal)
      response.drop()
      if (response.status !== 204 && response.status !== 200 && response.status !== 202) return undefined
      const offset = arrivedOf(response) ?? 0
      if (offset > blob.sizeBytes) return undefined
      blob.onProgress(offset)
      return { ...session, url: locationOf(response, session.url), offset }
    } catch (error) {
      if (errorCodeOf(error) !== 'unavailable') return undefined
      return session // Away as before: the next attempt tells.
    }
  }

  #send(request: Parameters<Repository['send']>[1], signal: AbortSignal, also: readonly string[] = []) {
    return this.#repository.send('push', request, signal, also)
  }

  get #registry(): string {
    return this.#repository.ref.registry
  }

  async #refused(response: TransportResponse, what: string, signal: AbortSignal): Promise<unknown> {
    const { registry, repository } = this.#repository.ref
    if (response.status === 401 || response.status === 403 || response.status === 405) {
      response.drop()
      const code = response.status === 405 ? 'failed_precondition' : 'permission_denied'
      return new PurserError(code, `${registry} does not let ${what} be pushed to ${repository}`, {
        remedy:
          response.status === 405
            ? 'it can only be read: push to another registry'
            : `docker login ${registry} as someone who may push (purser reads ~/.docker/config.json)`,
      })
    }
    // What the registry has is not what was thought: the next attempt asks.
    if (response.status === 416 || (response.status === 404 && what !== 'an upload')) {
      response.drop()
      return new PurserError('unavailable', `${registry} does not know how far the upload of ${what} is`, {
        remedy: 'try again',
      })
    }
    return finalError(await statusFailure(response, `the registry ${response.host}, given ${what},`, signal))
  }

  /** Waits before another attempt. @throws what failed, when another one would not help or there were enough */
  async #beforeAnother(error: unknown, failures: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (errorCodeOf(error) !== 'unavailable' || failures >= ATTEMPTS_MAX) throw error
    await delay(BASE_DELAY_MS * 2 ** (failures - 1) * (0.5 + Math.random() / 2), undefined, { signal })
  }
}

/** A part of a blob that tells how much of it was handed over. */
function counted(blob: BlobToPush, offset: number, end: number): Readable {
  const bytes = async function* () {
    let sent = offset
    for await (const piece of blob.open(offset, end)) {
      yield piece
      sent += piece.length
      blob.onProgress(Math.min(sent, end))
    }
  }
  return Readable.from(bytes(), { objectMode: false })
}

function locationOf(response: TransportResponse, before?: URL): URL {
  const text = response.header('location')
  if (text === undefined && before) return before
  const url = URL.parse(text ?? '', response.url)
  const isDowngrade = url?.protocol === 'http:' && response.url.protocol === 'https:'
  if (text !== undefined && url && /^https?:$/.test(url.protocol) && !isDowngrade && url.username === '') return url
  throw new PurserError('failed_precondition', `${response.host} does not say where an upload goes on`, {
    remedy: 'the registry is at fault: correct it, or use another one',
  })
}

/** Bytes that the registry has. @see distribution-spec, "Pushing a blob in chunks": `Range: 0-N`, with N the last one */
function arrivedOf(response: TransportResponse): number | undefined {
  const [, last] = /^(?:bytes=)?0-(\d{1,15})$/.exec(response.header('range') ?? '') ?? []
  if (last === undefined) return undefined
  return last === '0' ? 0 : Number(last) + 1 // Of nothing it says 0-0; of one byte too, which is then sent again.
}
