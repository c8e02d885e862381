import { once } from 'node:events'
import { chmod, chown, readFile, unlink } from 'node:fs/promises'
import type { Server } from 'node:http'
import { connect } from 'node:net'
import { PurserError } from '../../model/errors.ts'

const MODE = 0o660

/**
 * Listens on a Unix socket that only root and a group can connect to. What an earlier daemon left there is removed.
 *
 * @param group owns the socket when the host has a group of this name
 * @throws PurserError already_exists when somebody answers on it
 */
export async function listenOn(server: Server, socketPath: string, group: string): Promise<void> {
  await removeStale(socketPath)
  const listening = once(server, 'listening')
  // The file comes to be within this call: nobody else can connect before its mode and group are set.
  const umask = process.umask(0o177)
  try {
    server.listen(socketPath)
  } finally {
    process.umask(umask)
  }
  await listening
  const gid = await groupId(group)
  if (gid !== undefined) await chown(socketPath, -1, gid)
  await chmod(socketPath, MODE)
}

async function removeStale(socketPath: string): Promise<void> {
  const socket = connect(socketPath)
  try {
    await once(socket, 'connect')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT') return
    if (code === 'ECONNREFUSED') return await unlink(socketPath)
    throw new PurserError('failed_precondition', `${socketPath} cannot be used as a socket`, {
      cause: error,
      remedy: 'move away what is there, or choose another state directory',
    })
  } finally {
    socket.destroy()
  }
  throw new PurserError('already_exists', `a daemon answers on ${socketPath}`, {
    remedy: 'stop it, or choose another state directory',
  })
}

/** @see group(5) */
async function groupId(name: string): Promise<number | undefined> {
  const groups = await readFile('/etc/group', 'utf8').catch(() => '') // A host without the file has no groups.
  for (const line of groups.split('\n')) {
    const [group, , gid] = line.split(':')
    if (group === name && gid !== undefined && /^\d+$/.test(gid)) return Number(gid)
  }
}
