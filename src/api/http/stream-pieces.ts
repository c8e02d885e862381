import type { Call } from './route.ts'

/** Answers with bytes as they come; what cannot be read at all is answered as a problem. */
export async function streamPieces(
  call: Pick<Call, 'stream'>,
  contentType: string,
  bytes: AsyncIterable<Uint8Array>,
): Promise<'streamed'> {
  const pieces = bytes[Symbol.asyncIterator]()
  try {
    let next = await pieces.next()
    const out = call.stream(contentType)
    for (; !next.done; next = await pieces.next()) await out.write(next.value)
    out.end()
    return 'streamed'
  } finally {
    await pieces.return?.()
  }
}
