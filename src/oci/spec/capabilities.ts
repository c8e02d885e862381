import { z } from 'zod'
import { PurserError } from '../../model/errors.ts'
import { DEFAULT_CAPABILITIES } from './defaults.ts'

/** By their bits. @see capabilities(7); linux/capability.h */
export const CAPABILITIES: readonly string[] = [
  'CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE',
  'NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN',
  'SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE',
  'MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE',
].flatMap((line) => line.split(' ').map((name) => `CAP_${name}`))

const KNOWN = new Set(CAPABILITIES)

/** `net_admin` is CAP_NET_ADMIN; undefined for what the kernel has not got. */
export function capabilityNamed(text: string): string | undefined {
  const upper = text.toUpperCase()
  const name = upper.startsWith('CAP_') ? upper : `CAP_${upper}`
  return KNOWN.has(name) ? name : undefined
}

const isAll = (text: string): boolean => text.toUpperCase() === 'ALL'

const capability = z
  .string()
  .max(32)
  .refine((text) => isAll(text) || capabilityNamed(text) !== undefined, {
    error: ({ input }) => `there is no capability ${JSON.stringify(input)}: write ALL, or a name such as NET_ADMIN`,
  })

export const capabilityOptions = {
  capAdd: z.array(capability).min(1).max(64).optional().describe('capabilities besides the usual ones; ALL for all'),
  capDrop: z.array(capability).min(1).max(64).optional().describe('capabilities that it is not to have; ALL for all'),
}

/**
 * What a container's processes may hold at most, by docker's rules: with ALL added, all but those that are dropped; with ALL
 * dropped, those that are added.
 *
 * @param available those that the daemon has to give
 * @throws PurserError failed_precondition when one is asked for by name that the daemon has not got itself
 */
export function boundingSet(
  options: {
    capAdd?: readonly string[] | undefined
    capDrop?: readonly string[] | undefined
    privileged?: boolean | undefined
  },
  available: readonly string[],
): string[] {
  const { capAdd = [], capDrop = [], privileged } = options
  if (privileged) return [...available]
  const added = capAdd.flatMap((each) => capabilityNamed(each) ?? [])
  const dropped = new Set(capDrop.flatMap((each) => capabilityNamed(each) ?? []))
  const missing = added.find((each) => !available.includes(each))
  if (missing !== undefined) {
    throw new PurserError('failed_precondition', `${missing} is asked for, and the daemon has not got it itself`, {
      remedy: 'leave it out, or run the daemon with it',
      field: 'capAdd',
    })
  }
  if (capAdd.some(isAll)) return available.filter((each) => !dropped.has(each))
  const kept = capDrop.some(isAll) ? [] : DEFAULT_CAPABILITIES.filter((each) => !dropped.has(each))
  return [...new Set([...kept, ...added])]
}
