import { closeSync } from 'node:fs'
import koffi from 'koffi'
import { SyscallError } from './syscalls.ts'

const AF_UNIX = 1
const SOCK_DGRAM = 2
const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000
const MSG_NOSIGNAL = 0x4000
/** @see unix(7), sun_path */
const PATH_BYTES_MAX = 107

const libc = koffi.load(null)
const cSocket = libc.func('socket', 'int', ['int', 'int', 'int'])
const cConnect = libc.func('connect', 'int', ['int', 'void *', 'uint'])
const cSend = libc.func('send', 'long', ['int', 'void *', 'size_t', 'int'])

/** A Unix socket for datagrams, which Node does not have. */
export class UnixDatagramSocket implements Disposable {
  readonly #fd: number
  readonly #path: string

  /** @throws SyscallError ENOENT, ECONNREFUSED when nobody is there */
  constructor(path: string) {
    this.#path = path
    const address = Buffer.alloc(2 + PATH_BYTES_MAX + 1)
    address.writeUInt16LE(AF_UNIX, 0)
    if (Buffer.byteLength(path) > PATH_BYTES_MAX) throw new RangeError(`${path} is too long for a socket`)
    address.write(path, 2)
    this.#fd = this.#check(cSocket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket')
    try {
      this.#check(cConnect(this.#fd, address, address.length), 'connect')
    } catch (error) {
      closeSync(this.#fd)
      throw error
    }
  }

  /** Sends one; never waits. @throws SyscallError EAGAIN while the other side is behind, EMSGSIZE */
  send(datagram: Buffer): void {
    this.#check(cSend(this.#fd, datagram, datagram.length, MSG_NOSIGNAL), 'send')
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd)
  }

  #check(result: unknown, syscall: string): number {
    if (typeof result !== 'number' || result < 0) throw new SyscallError(koffi.errno(), syscall, this.#path)
    return result
  }
}
