import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Transform } from 'node:stream'

export interface Relay extends AsyncDisposable {
  readonly address: string
  /** Bytes that have come from the other side, headers among them. */
  bytes(): number
}

/**
 * A loopback port that leads to another one, and counts what comes from there.
 *
 * @param delayMs how long each piece is on its way, in either direction
 */
export async function startRelay(to: string, delayMs = 0): Promise<Relay> {
  const [host = '', port] = to.split(':')
  const sockets = new Set<Socket>()
  let bytes = 0
  const server = createServer((client) => {
    const upstream = connect({ host, port: Number(port) })
    upstream.on('data', (chunk) => {
      bytes += chunk.length
    })
    for (const [from, towards] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from)
      from.setNoDelay(true)
      from.on('error', () => towards.destroy()).on('close', () => sockets.delete(from))
      if (delayMs === 0) from.pipe(towards)
      else from.pipe(delaying(delayMs)).pipe(towards)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    bytes: () => bytes,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Takes as much as is on its way in that time, and hands it on in order. */
const delaying = (delayMs: number): Transform =>
  new Transform({
    highWaterMark: 1 << 22,
    transform(chunk, _encoding, done) {
      setTimeout(() => this.push(chunk), delayMs)
      done()
    },
    flush(done) {
      setTimeout(done, delayMs)
    },
  })
