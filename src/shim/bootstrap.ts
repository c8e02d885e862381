import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { AnySchema } from '@bufbuild/protobuf/wkt'
import { z } from 'zod'
import { PurserError } from '../model/errors.ts'
import { anyOptions, type RuncOptions } from './any-messages.ts'
import { BootstrapParamsSchema, BootstrapResultSchema } from './gen/bootstrap_pb.ts'
import type { AnyMessage } from './task-stats.ts'

/** Where a shim listens, and which version of the task service it speaks. */
export interface ShimAddress {
  socketPath: string
  version: 2 | 3
}

const bootstrapResult = z.object({ version: z.number().int(), address: z.string(), protocol: z.string() })

const UNIX_PREFIX = 'unix://'

/**
 * What `start` prints, or what is stored in a bundle: a bare address up to containerd 1.7, JSON from 2.0 on, a protobuf
 * message from 2.3 on. The first byte tells them apart.
 *
 * @throws PurserError unimplemented for a protocol that is not ttrpc on a Unix socket
 */
export function parseShimAddress(bytes: Uint8Array): ShimAddress {
  const text = Buffer.from(bytes).toString('utf8').trim()
  if (text.startsWith(UNIX_PREFIX)) return shimAddress(2, text, 'ttrpc')
  if (text.startsWith('{')) {
    const { version, address, protocol } = bootstrapResult.parse(JSON.parse(text))
    return shimAddress(version, address, protocol)
  }
  const first = bytes[0]
  if (first === 0x08 || first === 0x12) {
    const { version, address, protocol } = fromBinary(BootstrapResultSchema, bytes)
    return shimAddress(version, address, protocol)
  }
  throw new PurserError('unimplemented', `a shim answered ${JSON.stringify(text.slice(0, 160))}, which is no address`)
}

function shimAddress(version: number, address: string, protocol: string): ShimAddress {
  if (protocol !== 'ttrpc' || !address.startsWith(UNIX_PREFIX) || (version !== 2 && version !== 3)) {
    throw new PurserError('unimplemented', `a shim wants ${protocol} of version ${version} at ${address}`, {
      remedy: 'use a shim that serves ttrpc on a Unix socket',
    })
  }
  return { socketPath: address.slice(UNIX_PREFIX.length), version }
}

/** containerd's own `bootstrap.json`, which other tools read too. */
export function formatShimAddress({ socketPath, version }: ShimAddress): string {
  return JSON.stringify({ version, address: `${UNIX_PREFIX}${socketPath}`, protocol: 'ttrpc' })
}

export interface ShimVersion {
  major: number
  minor: number
}

/** The version that a shim prints for `-v`; undefined when it prints none. */
export function parseShimVersion(output: string): ShimVersion | undefined {
  const match = /^\s*Version:\s*v?(\d+)\.(\d+)/m.exec(output)
  return match ? { major: Number(match[1]), minor: Number(match[2]) } : undefined
}

export interface BootstrapInput {
  namespace: string
  id: string
  eventsAddress: string
  grpcAddress: string
  publishBinary: string
  options: RuncOptions | AnyMessage | undefined
}

/** What a shim reads on the stdin of `start`: its options alone, or from containerd 2.3 on everything. */
export function bootstrapInput(version: ShimVersion | undefined, input: BootstrapInput): Uint8Array {
  const options = input.options === undefined ? undefined : anyOptions(input.options)
  const takesParams = version !== undefined && (version.major > 2 || (version.major === 2 && version.minor >= 3))
  if (!takesParams) return options === undefined ? new Uint8Array() : toBinary(AnySchema, options)
  return toBinary(
    BootstrapParamsSchema,
    create(BootstrapParamsSchema, {
      instanceId: input.id,
      namespace: input.namespace,
      containerdVersion: '2.3.0',
      containerdTtrpcAddress: input.eventsAddress,
      containerdGrpcAddress: input.grpcAddress,
      containerdBinary: input.publishBinary,
      extensions: options === undefined ? [] : [{ value: options }],
    }),
  )
}
