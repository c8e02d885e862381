import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodeFrame, FRAME_BYTES_MAX, type Frame, FrameDecoder } from '../../../src/shim/ttrpc-frames.ts'

test('frames come out as they went in, however the stream is cut', () => {
  const frame = fc.record({
    streamId: fc.nat(),
    type: fc.integer({ min: 1, max: 3 }),
    payload: fc.uint8Array({ maxLength: 50 }),
  })
  fc.assert(
    fc.property(fc.array(frame), fc.integer({ min: 1, max: 30 }), (frames, step) => {
      const bytes = Buffer.concat(frames.map(encodeFrame))
      const decoder = new FrameDecoder()
      const out: Frame[] = []
      for (let at = 0; at < bytes.length; at += step) out.push(...decoder.push(bytes.subarray(at, at + step)))
      assert.deepEqual(
        out.map((each) => ({ ...each, payload: [...each.payload] })),
        frames.map((each) => ({ ...each, payload: [...each.payload] })),
      )
    }),
  )
})

test('a frame that is too long is refused on both ways', () => {
  const payload = new Uint8Array(FRAME_BYTES_MAX + 1)
  assert.throws(() => encodeFrame({ streamId: 1, type: 1, payload }), { code: 'resource_exhausted' })
  const header = Buffer.alloc(10)
  header.writeUInt32BE(FRAME_BYTES_MAX + 1)
  assert.throws(() => new FrameDecoder().push(header), { code: 'resource_exhausted' })
})
