import { Socket } from 'node:net'
import { PurserError } from '../model/errors.ts'

/** The part of a socket's handle that Node does not document. Only this file knows it. */
interface NativeHandle {
  onread: () => void
}

function nativeOf(socket: object): NativeHandle {
  const handle = '_handle' in socket ? socket._handle : undefined
  if (typeof handle === 'object' && handle !== null && 'onread' in handle) return handle as NativeHandle
  throw new PurserError('unimplemented', `Node ${process.version} does not tell when a pipe can be read`, {
    remedy: 'run the daemon with Node 26',
  })
}

/**
 * Tells when a pipe can be read, again and again until it has been, and reads nothing itself: of a socket that has no room the
 * event loop only tells that it could be read. Owns the descriptor.
 */
export class Readability implements Disposable {
  readonly #socket: Socket

  constructor(fd: number, onReadable: () => void) {
    const onread = { buffer: Buffer.alloc(0), callback: () => true }
    this.#socket = new Socket({ fd, readable: true, writable: false, onread })
    nativeOf(this.#socket).onread = onReadable
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  [Symbol.dispose](): void {
    this.#socket.destroy()
  }
}
