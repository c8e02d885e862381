/** @see RFC 6455, section 5.2 */
export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

export interface Frame {
  opcode: number
  /** Whether its message ends with it. */
  isFinal: boolean
  payload: Buffer
}

const FINAL = 0x80
const MASKED = 0x80
const LENGTH_16 = 126
const LENGTH_64 = 127

/** A whole message, or a control frame, as a client sends it. @param mask 4 bytes, as good as random */
export function encodeFrame(opcode: number, payload: Uint8Array, mask: Uint8Array): Buffer {
  const { length } = payload
  const extended = length < LENGTH_16 ? 0 : length < 2 ** 16 ? 2 : 8
  const frame = Buffer.allocUnsafe(2 + extended + mask.length + length)
  frame[0] = FINAL | opcode
  frame[1] = MASKED | (extended === 0 ? length : extended === 2 ? LENGTH_16 : LENGTH_64)
  if (extended === 2) frame.writeUInt16BE(length, 2)
  else if (extended === 8) frame.writeBigUInt64BE(BigInt(length), 2)
  frame.set(mask, 2 + extended)
  const body = 2 + extended + mask.length
  for (let at = 0; at < length; at++) frame[body + at] = (payload[at] ?? 0) ^ (mask[at % mask.length] ?? 0)
  return frame
}

/** Puts a server's frames together again from the chunks that they came in. */
export class FrameReader {
  readonly #bytesMax: number
  #chunks: Buffer[] = []
  #bytes = 0
  #needed = 2

  /** @param bytesMax of one payload */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** @returns the frames that are whole now @throws RangeError when one is larger than allowed, or no server's */
  push(chunk: Buffer): Frame[] {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    const frames: Frame[] = []
    if (this.#bytes < this.#needed) return frames
    let bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks)
    for (;;) {
      const { headBytes, payloadBytes } = this.#head(bytes)
      this.#needed = headBytes + payloadBytes
      const [first = 0] = bytes
      if (bytes.length < this.#needed) break
      frames.push({
        opcode: first & 0x0f,
        isFinal: (first & FINAL) !== 0,
        payload: bytes.subarray(headBytes, this.#needed),
      })
      bytes = bytes.subarray(this.#needed)
    }
    this.#chunks = [bytes]
    this.#bytes = bytes.length
    return frames
  }

  /** Of the frame that begins here; with too few bytes to tell, what of it must be there first. */
  #head(bytes: Buffer): { headBytes: number; payloadBytes: number } {
    const second = bytes[1]
    if (second === undefined) return { headBytes: 2, payloadBytes: 0 }
    if ((second & MASKED) !== 0) throw new RangeError('a server masks no frame')
    const headBytes = second === LENGTH_64 ? 10 : second === LENGTH_16 ? 4 : 2
    if (bytes.length < headBytes) return { headBytes, payloadBytes: 0 }
    const payloadBytes =
      headBytes === 2 ? second : headBytes === 4 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2))
    if (payloadBytes > this.#bytesMax)
      throw new RangeError(`a frame of ${payloadBytes} bytes, ${this.#bytesMax} at most`)
    return { headBytes, payloadBytes }
  }
}
