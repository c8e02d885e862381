import { once } from 'node:events'
import type { Server } from 'node:net'
import { PurserError } from '../model/errors.ts'

/**
 * Listens on `HOST:PORT`, an IPv6 address in brackets.
 *
 * @param field of the configuration that has the address
 * @throws PurserError unavailable, naming the field, when the port is taken or the address is not this machine's
 */
export async function listenOn(server: Server, address: string, field: string): Promise<void> {
  const colon = address.lastIndexOf(':')
  server.listen(Number(address.slice(colon + 1)), address.slice(0, colon).replace(/^\[(.*)\]$/, '$1'))
  try {
    await once(server, 'listening')
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : ''
    throw new PurserError('unavailable', `${field} = "${address}": it cannot be listened on (${code})`, {
      field,
      remedy: code === 'EADDRINUSE' ? 'choose a port that nobody uses' : 'name an address of this machine',
      cause,
    })
  }
}
