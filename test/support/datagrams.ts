import { closeSync } from 'node:fs'
import koffi from 'koffi'

const libc = koffi.load(null)
const socket = libc.func('socket', 'int', ['int', 'int', 'int'])
const bind = libc.func('bind', 'int', ['int', 'void *', 'uint'])
const recv = libc.func('recv', 'long', ['int', 'void *', 'size_t', 'int'])

const AF_UNIX = 1
const SOCK_DGRAM = 2
const MSG_DONTWAIT = 0x40
const BYTES_MAX = 256 * 1024

/** A Unix socket that datagrams are sent to, as /dev/log and journald's are. */
export function receiveDatagrams(path: string): Disposable & { path: string; take(): Buffer[] } {
  const fd: number = socket(AF_UNIX, SOCK_DGRAM, 0)
  const address = Buffer.alloc(110)
  address.writeUInt16LE(AF_UNIX, 0)
  address.write(path, 2)
  if (bind(fd, address, address.length) !== 0) throw new Error(`${path} cannot be bound`)
  return {
    path,
    /** All that have come. */
    take() {
      const datagrams: Buffer[] = []
      for (;;) {
        const buffer = Buffer.alloc(BYTES_MAX)
        const length: number = recv(fd, buffer, buffer.length, MSG_DONTWAIT)
        if (length < 0) return datagrams
        datagrams.push(buffer.subarray(0, length))
      }
    },
    [Symbol.dispose]: () => closeSync(fd),
  }
}
