import { readFileSync } from 'node:fs'

/** None, SIGKILL and SIGSTOP: no process can take them otherwise than the kernel does. */
const ALWAYS_UNHEARD = new Set([0, 9, 19])

/**
 * Whether processes may do something of their own when a signal comes: one catches it, or holds it back to take it later. Else it
 * ends them, stops them or does nothing, and a second one does no more.
 *
 * @param pids `unknown` for processes that cannot be looked at
 * @see proc_pid_status(5), SigBlk, SigCgt
 */
export const isHeard = (signal: number, pids: readonly number[] | 'unknown'): boolean =>
  !ALWAYS_UNHEARD.has(signal) && (pids === 'unknown' || pids.some((pid) => hears(pid, signal)))

function hears(pid: number, signal: number): boolean {
  let status = ''
  try {
    status = readFileSync(`/proc/${pid}/status`, 'latin1')
  } catch {
    return false // It is gone.
  }
  const bit = 1n << BigInt(signal - 1)
  return [...status.matchAll(/^Sig(?:Blk|Cgt):\t([0-9a-f]+)$/gm)].some(([, mask]) => (BigInt(`0x${mask}`) & bit) !== 0n)
}
