import { z } from 'zod'

/** Of an IPC namespace; those below `fs.mqueue.` too. @see ipc_namespaces(7) */
const IPC = new Set(
  'kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax kernel.shmmni kernel.shm_rmid_forced'.split(
    ' ',
  ),
)

/** The kind of namespace that a setting is of; undefined for one of the whole host. */
export function namespaceOfSysctl(name: string): 'ipc' | 'network' | 'uts' | undefined {
  if (IPC.has(name) || name.startsWith('fs.mqueue.')) return 'ipc'
  if (name.startsWith('net.')) return 'network'
  return name === 'kernel.domainname' ? 'uts' : undefined
}

const NAME = /^[a-zA-Z0-9_-]+(?:[./][a-zA-Z0-9_-]+)+$/

const value = z
  .string()
  .max(1024)
  .regex(/^[\x20-\x7e\t]*$/, 'a value is one line')

/** Those that a container may have to itself: to set another one would be to set the host's. */
export const sysctls = z
  .record(z.string().max(256), value)
  .superRefine((all, context) => {
    for (const name of Object.keys(all)) {
      const message = NAME.test(name)
        ? `${name} is no setting of a container's own: it would be changed for the whole host`
        : `${JSON.stringify(name)} is no sysctl: one is net.core.somaxconn`
      if (!NAME.test(name) || namespaceOfSysctl(name) === undefined) context.addIssue({ code: 'custom', message })
    }
  })
  .refine((all) => Object.keys(all).length <= 256, 'there are 256 at most')
  .describe('kernel parameters of its own namespaces: net.*, fs.mqueue.*, and those of kernel.* that are of IPC')
