import { PurserError } from '../model/errors.ts'
import { fateOf, type Requests, textOf } from './http.ts'
import { randomUuid } from './random.ts'

/** One request each, well below the time that a request has to arrive. */
const PIECE_BYTES = 4 * 1024 * 1024

/** In pieces that are sent again where the connection broke off. @returns the id of the ingest */
export async function sendArchive(
  requests: Requests,
  bytes: AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<string> {
  const id = randomUuid()
  let offset = 0
  try {
    for await (const piece of inPieces(bytes, PIECE_BYTES))
      offset = await sendPiece(requests, id, offset, piece, signal)
    return id
  } catch (error) {
    await dropArchive(requests, id).catch(() => {}) // It would go by itself after a while.
    throw error
  }
}

/** @returns how much of the archive has arrived then */
async function sendPiece(
  requests: Requests,
  id: string,
  offset: number,
  piece: Uint8Array,
  signal?: AbortSignal,
): Promise<number> {
  const path = `/v1/ingests/${id}`
  for (let sent = 0; ; ) {
    const put = { method: 'PUT', body: piece.subarray(sent), signal } as const
    const there = await requests
      .json<{ sizeBytes: number }>(`${path}?offset=${offset + sent}`, put)
      .catch((error: unknown) => {
        const fate = fateOf(error)
        if (fate === 'answered' || (fate === 'absent' && offset + sent === 0)) throw error
        return arrived(requests, path, signal)
      })
    sent = there.sizeBytes - offset
    if (sent === piece.length) return offset + sent
    if (sent >= 0 && sent < piece.length) continue
    throw new PurserError('aborted', 'the daemon has lost what it was sent of the archive', {
      remedy: 'send it again',
    })
  }
}

/** How much of it the daemon has. */
async function arrived(requests: Requests, path: string, signal?: AbortSignal): Promise<{ sizeBytes: number }> {
  try {
    return await requests.persist(() => requests.json<{ sizeBytes: number }>(path, { signal }), 'any', signal)
  } catch (error) {
    if (!(error instanceof PurserError) || error.code !== 'not_found') throw error
    return { sizeBytes: 0 } // It broke off before it had begun.
  }
}

export async function dropArchive(requests: Requests, id: string): Promise<void> {
  await textOf(await requests.open(`/v1/ingests/${id}`, { method: 'DELETE' }), requests.socketPath)
}

/** The same bytes in pieces of one size, the last one smaller; of nothing, one empty piece. */
async function* inPieces(bytes: AsyncIterable<Uint8Array>, pieceBytes: number): AsyncGenerator<Uint8Array> {
  let gathered: Uint8Array[] = []
  let length = 0
  let isEmpty = true
  for await (const piece of bytes) {
    gathered.push(piece)
    length += piece.length
    if (length < pieceBytes) continue
    isEmpty = false
    yield Buffer.concat(gathered, length)
    gathered = []
    length = 0
  }
  if (length > 0 || isEmpty) yield Buffer.concat(gathered, length)
}
