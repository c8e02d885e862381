import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Claim } from '../../../commands/pool.ts'
import { errnoOf } from '../../../host/syscalls.ts'
import type { Mount, Spec } from '../../../oci/spec/schema.ts'
import { ensureFifo } from '../../../shim/fifo.ts'

/** Where a pool's process finds what its claim brings: `claim` (a FIFO), `claim.json` and `env`. */
export const CLAIM_TARGET = '/run/purser'

const dirOf = (bundle: string): string => join(bundle, 'claim')

/** The mount that a pool's containers get besides their own. */
export const claimMount = (bundle: string): Mount => ({
  destination: CLAIM_TARGET,
  type: 'bind',
  source: dirOf(bundle),
  options: ['rbind', 'rprivate', 'ro', 'nosuid', 'nodev', 'noexec'],
})

/** Makes them, for the user that the process runs as and nobody else. */
export function makeClaimFiles(bundle: string, { uid, gid }: Spec['process']['user']): void {
  const dir = dirOf(bundle)
  mkdirSync(dir, { recursive: true, mode: 0o755 })
  const fifo = join(dir, 'claim')
  ensureFifo(fifo)
  chownSync(fifo, uid, gid)
}

/**
 * Opens both ends of the FIFO, so that a process that opens it goes on to read, and waits there. One that waited in `open`
 * would take whoever came to look for a writer.
 */
export function holdClaimFifo(bundle: string): Disposable {
  const fd = openSync(join(dirOf(bundle), 'claim'), constants.O_RDWR | constants.O_NONBLOCK)
  return { [Symbol.dispose]: () => closeSync(fd) }
}

/** Whether one of these processes reads from the FIFO. */
export function isWaitedOn(pids: readonly number[]): boolean {
  return pids.some((pid) => filesOf(pid).includes(`${CLAIM_TARGET}/claim`))
}

function filesOf(pid: number): string[] {
  const dir = `/proc/${pid}/fd`
  try {
    return readdirSync(dir).map((fd) => readlinkSync(join(dir, fd)))
  } catch {
    return [] // It has ended, or closed one meanwhile: look again.
  }
}

/** Whether a claim's files are there, as they are from before it is told to the process. */
export function wasWritten(bundle: string, id: string): boolean {
  try {
    return readFileSync(join(dirOf(bundle), 'claim.json'), 'utf8').startsWith(`{"id":${JSON.stringify(id)}`)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false
    throw error
  }
}

/** What a claim brings, as the process reads it: for the user that its FIFO belongs to. */
export function writeClaim(bundle: string, id: string, claim: Claim): void {
  const dir = dirOf(bundle)
  const { uid, gid } = statSync(join(dir, 'claim'))
  const { env, labels, payload } = claim
  const text = `${JSON.stringify({ id, env, labels, ...(payload === undefined ? {} : { payload }) })}\n`
  const put = (name: string, content: string) => {
    const path = join(dir, name)
    writeFileSync(path, content, { mode: 0o400 })
    chmodSync(path, 0o400)
    chownSync(path, uid, gid)
  }
  put('claim.json', text)
  put(
    'env',
    Object.entries(env)
      .map(([key, value]) => `${key}=${quoted(value)}\n`)
      .join(''),
  )
}

/** Tells the process that waits on the FIFO, if one does; frozen, it reads when it is thawed. */
export function tellClaim(bundle: string, id: string): void {
  let fd: number
  try {
    fd = openSync(join(dirOf(bundle), 'claim'), constants.O_WRONLY | constants.O_NONBLOCK)
  } catch (error) {
    if (errnoOf(error) === 'ENXIO') return // Nobody waits.
    throw error
  }
  try {
    writeSync(fd, `${id}\n`)
  } finally {
    closeSync(fd)
  }
}

/** For `. /run/purser/env` in a shell. */
const quoted = (value: string): string => `'${value.replaceAll("'", `'\\''`)}'`
