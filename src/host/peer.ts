import type { Socket } from 'node:net'
import koffi from 'koffi'

/** The process at the other end of a Unix socket, as it was when it connected. */
export interface Peer {
  pid: number
  uid: number
  gid: number
}

const SOL_SOCKET = 1
const SO_PEERCRED = 17
/** struct ucred: three 32-bit integers. */
const UCRED_BYTES = 12

const getsockopt = koffi.load(null).func('getsockopt', 'int', ['int', 'int', 'int', 'void *', 'void *'])

/**
 * Who connected to us.
 *
 * @returns undefined when the socket is closed already or is no Unix socket
 * @see unix(7), "SO_PEERCRED"
 */
export function peerOf(socket: Socket): Peer | undefined {
  const handle: unknown = Reflect.get(socket, '_handle')
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined
  if (typeof fd !== 'number' || fd < 0) return undefined
  const credentials = Buffer.alloc(UCRED_BYTES)
  const length = Buffer.alloc(4)
  length.writeUInt32LE(UCRED_BYTES)
  const result: unknown = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, length)
  // A socket of another family answers with pid 0 and uid -1.
  if (result !== 0 || credentials.readInt32LE(0) === 0) return undefined
  return { pid: credentials.readInt32LE(0), uid: credentials.readUInt32LE(4), gid: credentials.readUInt32LE(8) }
}
