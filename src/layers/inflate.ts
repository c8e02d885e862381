import { createGunzip, createZstdDecompress, constants as zlibConstants } from 'node:zlib'
import { type Compression, type Decoder, notDecodable } from './compression.ts'
import { wholeDecoder } from './inflate-whole.ts'

/** Bytes of one piece of output; one buffer, used again and again. */
const OUTPUT_BYTES = 256 * 1024

/**
 * The synchronous half of Node's zlib streams, which Node does not document: `writeSync` on the stream's handle, after
 * which `_writeState` holds what is left of output and input. Twice as fast as the stream. Only this file knows it.
 */
interface NativeHandle {
  writeSync(
    flush: number,
    input: Buffer,
    inAt: number,
    inLeft: number,
    out: Buffer,
    outAt: number,
    outLeft: number,
  ): void
  onerror: (message: string, errno: number, code: string) => void
  close(): void
}

interface NativeStream {
  _handle: NativeHandle
  _writeState: Uint32Array
}

function nativeOf(stream: object): NativeStream | undefined {
  if (!('_handle' in stream) || !('_writeState' in stream)) return undefined
  const { _handle: handle, _writeState: state } = stream
  const isKnown =
    typeof handle === 'object' &&
    handle !== null &&
    'writeSync' in handle &&
    typeof handle.writeSync === 'function' &&
    'onerror' in handle &&
    state instanceof Uint32Array &&
    state.length === 2
  return isKnown ? (stream as unknown as NativeStream) : undefined
}

export function createDecoder(compression: Compression, output: (piece: Buffer) => void): Decoder {
  if (compression === 'none') return { write: output, end() {}, [Symbol.dispose]() {} }
  const stream = compression === 'gzip' ? createGunzip() : createZstdDecompress()
  const native = nativeOf(stream)
  if (native) return new NativeDecoder(native, compression, output)
  stream.destroy()
  return wholeDecoder(compression, output)
}

class NativeDecoder implements Decoder {
  readonly #native: NativeStream
  readonly #compression: Compression
  readonly #output: (piece: Buffer) => void
  readonly #buffer = Buffer.allocUnsafeSlow(OUTPUT_BYTES)
  #failure: string | undefined
  #isAtEnd = false

  constructor(native: NativeStream, compression: Compression, output: (piece: Buffer) => void) {
    this.#native = native
    this.#compression = compression
    this.#output = output
    native._handle.onerror = (message) => {
      this.#failure = message
    }
  }

  write(input: Buffer): void {
    const flush = this.#compression === 'gzip' ? zlibConstants.Z_NO_FLUSH : zlibConstants.ZSTD_e_continue
    let at = 0
    while (at < input.length) {
      // RFC 1952 lets members follow one another; zeros after the last are the padding of a tape.
      if (this.#isAtEnd) {
        this.#checkPadding(input, at)
        return
      }
      const before = input.length - at
      const left = this.#step(flush, input, at)
      at = input.length - left.input
      this.#isAtEnd = left.input === before && left.output === OUTPUT_BYTES
    }
    // What did not fit the output buffer is still inside the decoder.
    while (this.#lastWasFull) this.#step(flush, input, input.length)
  }

  end(): void {
    if (this.#isAtEnd) return
    const flush = this.#compression === 'gzip' ? zlibConstants.Z_FINISH : zlibConstants.ZSTD_e_end
    do this.#step(flush, EMPTY, 0)
    while (this.#lastWasFull)
  }

  #lastWasFull = false

  #step(flush: number, input: Buffer, at: number): { input: number; output: number } {
    const { _handle: handle, _writeState: state } = this.#native
    handle.writeSync(flush, input, at, input.length - at, this.#buffer, 0, OUTPUT_BYTES)
    if (this.#failure !== undefined) throw notDecodable(this.#compression, this.#failure)
    const [output = 0, inputLeft = 0] = state
    this.#lastWasFull = output === 0
    if (output < OUTPUT_BYTES) this.#output(this.#buffer.subarray(0, OUTPUT_BYTES - output))
    return { input: inputLeft, output }
  }

  #checkPadding(input: Buffer, from: number): void {
    for (let at = from; at < input.length; at += 1) {
      if (input[at] !== 0) throw notDecodable(this.#compression, 'other bytes follow its end')
    }
  }

  [Symbol.dispose](): void {
    this.#native._handle.close()
  }
}

const EMPTY = Buffer.alloc(0)
