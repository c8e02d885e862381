import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire'

/** A protobuf message by field numbers: strings, bytes, and other messages, each also repeated. */
export type Message = { readonly [field: number]: Value | readonly Value[] }
type Value = string | Uint8Array | Message

export interface GrpcClient extends Disposable {
  /** @returns the answer's bytes by field number, in their order @throws Error with the server's words */
  call(method: string, request: Message): Promise<Map<number, Uint8Array[]>>
}

/** What a benchmark needs of gRPC: unary calls over one connection to a Unix socket, without a code generator. */
export async function connectGrpc(socketPath: string, headers: Readonly<Record<string, string>>): Promise<GrpcClient> {
  const session = connectHttp2('http://localhost', { createConnection: () => connect(socketPath) })
  await once(session, 'connect')
  return {
    async call(method, request) {
      const stream = session.request({
        ':method': 'POST',
        ':path': `/${method}`,
        'content-type': 'application/grpc',
        te: 'trailers',
        ...headers,
      })
      const message = encode(request)
      const frame = Buffer.alloc(5 + message.length)
      frame.writeUInt32BE(message.length, 1)
      frame.set(message, 5)
      let status: string | undefined
      let reason = ''
      const note = (given: Record<string, unknown>) => {
        if (given['grpc-status'] === undefined) return
        status = String(given['grpc-status'])
        reason = decodeURIComponent(String(given['grpc-message'] ?? ''))
      }
      stream.on('response', note).on('trailers', note)
      stream.end(frame)
      const answer = await buffer(stream)
      if (status !== '0') throw new Error(`${method}: ${status} ${reason}`)
      return decode(answer.subarray(5))
    },
    [Symbol.dispose]: () => session.close(),
  }
}

function encode(message: Message): Uint8Array {
  const writer = new BinaryWriter()
  for (const [field, given] of Object.entries(message)) {
    for (const value of Array.isArray(given) ? given : [given]) {
      const bytes = typeof value === 'string' ? Buffer.from(value) : value instanceof Uint8Array ? value : encode(value)
      writer.tag(Number(field), WireType.LengthDelimited).bytes(bytes)
    }
  }
  return writer.finish()
}

function decode(bytes: Uint8Array): Map<number, Uint8Array[]> {
  const reader = new BinaryReader(bytes)
  const fields = new Map<number, Uint8Array[]>()
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag()
    if (type !== WireType.LengthDelimited) {
      reader.skip(type)
      continue
    }
    fields.set(field, [...(fields.get(field) ?? []), reader.bytes()])
  }
  return fields
}
