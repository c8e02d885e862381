import { z } from 'zod'
import type { Kind } from '../model/aggregate.ts'
import { labels } from '../model/labels.ts'
import { hostname } from '../oci/spec/hostname.ts'
import { networkOptions } from '../oci/spec/network-options.ts'
import type { MappedPort } from '../oci/spec/published-port.ts'
import type { NetworkInterface } from './task.ts'

/** Of what a shim is handed through, in characters of base64. */
const ANY_CHARACTERS_MAX = 256 * 1024

const anyMessage = z
  .strictObject({
    typeUrl: z.string().min(1).max(1024).describe('name of the message, as typeurl has it'),
    value: z.base64().max(ANY_CHARACTERS_MAX).describe('its bytes'),
  })
  .describe('a protobuf Any')
export type SandboxAny = z.output<typeof anyMessage>

const shmBytes = z.int().min(4096).max(Number.MAX_SAFE_INTEGER)

export const sandboxRequest = z.strictObject({
  sandboxer: z
    .enum(['podsandbox', 'shim'])
    .default('podsandbox')
    .describe('who keeps it: podsandbox pins namespaces here; shim has the runtime do it, by the sandbox API'),
  runtime: z.string().optional().describe('of the sandbox and all containers in it'),
  runtimeOptions: anyMessage.optional().describe('what its shim is started with, instead of what is configured'),
  spec: anyMessage.optional().describe("becomes config.json of the sandbox's bundle"),
  options: anyMessage.optional().describe('what the shim creates the sandbox from, such as a PodSandboxConfig'),
  annotations: z.record(z.string().max(256), z.string().max(65_536)).default({}).describe('told to the shim'),
  extensions: z.record(z.string().max(256), anyMessage).default({}).describe('kept for clients'),
  labels: labels.default({}),
  hostname: hostname.optional().describe('of all containers in it; by default from its id'),
  ...networkOptions,
  ipc: z.enum(['private', 'host']).default('private').describe('System V IPC and /dev/shm, shared in the sandbox'),
  shmBytes: shmBytes.optional().describe('size of /dev/shm; 64 MiB by default'),
})

export const sandboxRecord = sandboxRequest.extend({ runtime: z.string() })
export type SandboxRecord = z.output<typeof sandboxRecord>

export interface MadeSandbox extends SandboxRecord {
  createdAt: string
  /** In its networks, besides loopback, and the ports of the host that lead to it. */
  attached?: { interfaces: NetworkInterface[]; ports: MappedPort[] }
}

export type SandboxState =
  | { status: 'absent' }
  | { status: 'creating' | 'created' | 'starting' | 'deleting'; made: MadeSandbox }
  /** Without a start there is nothing that its shim could be asked to stop. */
  | { status: 'stopping'; made: MadeSandbox; startedAt?: string | undefined }
  | {
      status: 'running'
      made: MadeSandbox
      startedAt: string
      /** Of its own process, where it has one. */
      pid?: number | undefined
    }
  | {
      status: 'stopped'
      made: MadeSandbox
      exitedAt: string
      /** Absent where nobody knows it, or nothing has run. */
      exitCode?: number | undefined
      /** Why, when nobody has asked for it. */
      reason?: string | undefined
      /** Whether namespaces, shim and network are still there. */
      host: 'held' | 'released'
    }

export type PresentSandbox = Exclude<SandboxState, { status: 'absent' }>

export const sandboxes: Kind<SandboxState> = { name: 'sandbox', initial: { status: 'absent' } }

/** Whether what it shares may be on the host. */
export const isHeld = (state: SandboxState): boolean =>
  state.status !== 'absent' && !(state.status === 'stopped' && state.host === 'released')
