import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { AnySchema } from '@bufbuild/protobuf/wkt'
import { z } from 'zod'
import { PurserError } from '../model/errors.ts'
import { anyOptions, type RuncOptions } from './any-messages.ts'
import { BootstrapParamsSchema, type BootstrapResult, BootstrapResultSchema } from './gen/bootstrap_pb.ts'
import type { AnyMessage } from './task-stats.ts'

/** Where a shim listens, and by which protocol and in which version it serves tasks. */
export interface ShimAddress {
  socketPath: string
  version: 2 | 3
  protocol: 'ttrpc' | 'grpc'
}

const bootstrapResult = z.object({ version: z.number().int(), address: z.string(), protocol: z.string() })

const UNIX_PREFIX = 'unix://'

/**
 * What `start` prints, or what is stored in a bundle: a bare address up to containerd 1.7, JSON from 2.0 on, a protobuf
 * message from 2.3 on. The first byte tells them apart.
 *
 * @throws PurserError unimplemented for what is none of these, or no Unix socket
 */
export function parseShimAddress(bytes: Uint8Array): ShimAddress {
  const text = Buffer.from(bytes).toString('utf8').trim()
  if (text.startsWith(UNIX_PREFIX)) return shimAddress(2, text, 'ttrpc')
  if (text.startsWith('{')) {
    const { version, address, protocol } = parseJson(text)
    return shimAddress(version, address, protocol)
  }
  const first = bytes[0]
  if (first === 0x08 || first === 0x12) {
    const { version, address, protocol } = parseMessage(bytes, text)
    return shimAddress(version, address, protocol)
  }
  throw noAddress(text)
}

function parseJson(text: string): z.output<typeof bootstrapResult> {
  try {
    return bootstrapResult.parse(JSON.parse(text))
  } catch (cause) {
    throw noAddress(text, cause)
  }
}

function parseMessage(bytes: Uint8Array, text: string): BootstrapResult {
  try {
    return fromBinary(BootstrapResultSchema, bytes)
  } catch (cause) {
    throw noAddress(text, cause)
  }
}

const noAddress = (text: string, cause?: unknown): PurserError =>
  new PurserError('unimplemented', `a shim answered ${JSON.stringify(text.slice(0, 160))}, which is no address`, {
    cause,
    remedy: 'see that the program is a shim of containerd 1.6 or later',
  })

function shimAddress(version: number, address: string, protocol: string): ShimAddress {
  const isKnown = protocol === 'ttrpc' || protocol === 'grpc'
  if (!isKnown || !address.startsWith(UNIX_PREFIX) || (version !== 2 && version !== 3)) {
    throw new PurserError('unimplemented', `a shim wants ${protocol} of version ${version} at ${address}`, {
      remedy: 'use a shim that serves version 2 or 3 of the task API by ttrpc or gRPC on a Unix socket',
    })
  }
  return { socketPath: address.slice(UNIX_PREFIX.length), version, protocol }
}

/** containerd's own `bootstrap.json`, which other tools read too. */
export function formatShimAddress({ socketPath, version, protocol }: ShimAddress): string {
  return JSON.stringify({ version, address: `${UNIX_PREFIX}${socketPath}`, protocol })
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

/** What a shim reads on the standard input of `start`: its options alone, or from containerd 2.3 on everything. */
export type BootstrapForm = 'options' | 'params'

/** The form that containerd's own shim of a version reads. */
export function formOf(version: ShimVersion | undefined): BootstrapForm {
  const takesParams = version !== undefined && (version.major > 2 || (version.major === 2 && version.minor >= 3))
  return takesParams ? 'params' : 'options'
}

export function bootstrapInput(form: BootstrapForm, input: BootstrapInput): Uint8Array {
  const options = input.options === undefined ? undefined : anyOptions(input.options)
  if (form === 'options') return options === undefined ? new Uint8Array() : toBinary(AnySchema, options)
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
