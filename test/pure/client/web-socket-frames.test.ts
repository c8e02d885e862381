import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodeFrame, type Frame, FrameReader, OPCODE } from '../../../src/client/web-socket-frames.ts'

const BYTES_MAX = 1 << 20

/** As a server sends it: without a mask. */
function serverFrame({ opcode, isFinal, payload }: Frame): Buffer {
  const head =
    payload.length < 126 ? [payload.length] : payload.length < 65_536 ? [126, 0, 0] : [127, ...Array(8).fill(0)]
  const frame = Buffer.concat([Buffer.of((isFinal ? 0x80 : 0) | opcode, ...head), payload])
  if (head[0] === 126) frame.writeUInt16BE(payload.length, 2)
  if (head[0] === 127) frame.writeBigUInt64BE(BigInt(payload.length), 2)
  return frame
}

const frames = fc.array(
  fc.record({
    opcode: fc.constantFrom(...Object.values(OPCODE)),
    isFinal: fc.boolean(),
    payload: fc
      .oneof(fc.nat(130), fc.constantFrom(125, 126, 127, 65_535, 65_536, 70_000))
      .map((length) => Buffer.alloc(length, length)),
  }),
  { maxLength: 6 },
)

test('frames are what was sent, wherever the chunks were cut', () => {
  fc.assert(
    fc.property(frames, fc.array(fc.integer({ min: 1, max: 40_000 })), (sent, cuts) => {
      const bytes = Buffer.concat(sent.map(serverFrame))
      const reader = new FrameReader(BYTES_MAX)
      const read: Frame[] = []
      let at = 0
      for (const cut of cuts) {
        read.push(...reader.push(bytes.subarray(at, at + cut)))
        at += cut
      }
      read.push(...reader.push(bytes.subarray(at)))
      assert.deepEqual(
        read,
        sent.map((frame) => ({ ...frame })),
      )
    }),
  )
})

test('a frame of a client is masked, and says how long it is', () => {
  for (const length of [0, 1, 125, 126, 65_535, 65_536]) {
    const payload = Buffer.alloc(length, 7)
    const frame = encodeFrame(OPCODE.binary, payload, Buffer.of(1, 2, 3, 4))
    const head = length < 126 ? 2 : length < 65_536 ? 4 : 10
    assert.equal(frame.length, head + 4 + length)
    assert.equal(frame[0], 0x82)
    assert.equal(frame[1], 0x80 | (head === 2 ? length : head === 4 ? 126 : 127))
    const body = frame.subarray(head + 4).map((byte, at) => byte ^ (frame[head + (at % 4)] ?? 0))
    assert.deepEqual(Buffer.from(body), payload)
  }
})

test('a frame that is too large, or masked as only a client does, is refused', () => {
  const large = serverFrame({ opcode: 2, isFinal: true, payload: Buffer.alloc(101) })
  assert.throws(() => new FrameReader(100).push(large), RangeError)
  assert.throws(() => new FrameReader(100).push(encodeFrame(2, Buffer.alloc(1), Buffer.alloc(4, 1))), RangeError)
})
