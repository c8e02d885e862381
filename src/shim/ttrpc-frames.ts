import { PurserError } from '../model/errors.ts'

export const FRAME_REQUEST = 1
export const FRAME_RESPONSE = 2

/** The longest payload that a peer may send. @see ttrpc, channel.go, "messageLengthMax" */
export const FRAME_BYTES_MAX = 4 * 1024 * 1024

const HEADER_BYTES = 10

export interface Frame {
  streamId: number
  type: number
  payload: Uint8Array
}

/** A frame as bytes: length, stream, type and flags, big endian, then the payload. */
export function encodeFrame({ streamId, type, payload }: Frame): Buffer {
  if (payload.length > FRAME_BYTES_MAX) {
    throw new PurserError('resource_exhausted', `a message of ${payload.length} bytes is too long for a shim`, {
      remedy: `send at most ${FRAME_BYTES_MAX} bytes`,
    })
  }
  const frame = Buffer.allocUnsafe(HEADER_BYTES + payload.length)
  frame.writeUInt32BE(payload.length, 0)
  frame.writeUInt32BE(streamId, 4)
  frame.writeUInt8(type, 8)
  frame.writeUInt8(0, 9)
  frame.set(payload, HEADER_BYTES)
  return frame
}

/** Cuts a byte stream into frames. */
export class FrameDecoder {
  #chunks: Buffer[] = []
  #bytes = 0

  /**
   * The frames that `chunk` completes, in order.
   *
   * @throws PurserError resource_exhausted when a frame announces more than {@link FRAME_BYTES_MAX}: close the connection
   */
  push(chunk: Buffer): Frame[] {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    const frames: Frame[] = []
    for (;;) {
      if (this.#bytes < HEADER_BYTES) return frames
      if ((this.#chunks[0]?.length ?? 0) < HEADER_BYTES) this.#join()
      const head = this.#chunks[0]
      if (!head) return frames
      const length = head.readUInt32BE(0)
      if (length > FRAME_BYTES_MAX) {
        throw new PurserError('resource_exhausted', `a shim announces a message of ${length} bytes`, {
          remedy: `a message has ${FRAME_BYTES_MAX} bytes at most; is this a ttrpc socket?`,
        })
      }
      const end = HEADER_BYTES + length
      if (this.#bytes < end) return frames
      const all = this.#join()
      frames.push({
        streamId: all.readUInt32BE(4),
        type: all.readUInt8(8),
        payload: all.subarray(HEADER_BYTES, end),
      })
      this.#bytes = all.length - end
      this.#chunks = this.#bytes > 0 ? [all.subarray(end)] : []
    }
  }

  #join(): Buffer {
    const [first] = this.#chunks
    const all = this.#chunks.length === 1 && first ? first : Buffer.concat(this.#chunks)
    this.#chunks = [all]
    return all
  }
}
