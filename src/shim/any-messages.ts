import { create, toBinary } from '@bufbuild/protobuf'
import { type Any, AnySchema } from '@bufbuild/protobuf/wkt'
import { specJson } from '../oci/spec/ulimits.ts'
import { CheckpointOptionsSchema, OptionsSchema } from './gen/options_pb.ts'
import { OptionsSchema as GenericOptionsSchema } from './gen/runtime_options_pb.ts'
import type { AnyMessage } from './task-stats.ts'

/** Options of a runtime that is driven by the runc shim: runc, crun, youki. */
export interface RuncOptions {
  /** The runtime itself: a name on the search path, or an absolute path. Default runc. */
  binaryName?: string
  /** Where the runtime keeps its state. */
  root?: string
  systemdCgroup?: boolean
  noPivotRoot?: boolean
  noNewKeyring?: boolean
  /** The cgroup that the shim itself is put in. */
  shimCgroup?: string
  ioUid?: number
  ioGid?: number
  criuPath?: string
  criuImagePath?: string
  criuWorkPath?: string
}

/** What a runtime takes that has options of no other kind: gVisor, Kata. */
export interface GenericOptions {
  /** What the runtime takes the rest for: `io.containerd.runsc.v1.options`. */
  typeUrl?: string | undefined
  configPath?: string | undefined
  /** The configuration itself, instead of a path. */
  configBody?: string | undefined
}

/** @see containerd, api/types/runtimeoptions/v1/api.proto */
export function genericOptions({ typeUrl = '', configPath = '', configBody = '' }: GenericOptions): AnyMessage {
  const options = create(GenericOptionsSchema, { typeUrl, configPath, configBody: Buffer.from(configBody) })
  return { typeUrl: GenericOptionsSchema.typeName, value: toBinary(GenericOptionsSchema, options) }
}

export function isAnyMessage(options: RuncOptions | AnyMessage): options is AnyMessage {
  return 'typeUrl' in options
}

/** Options as a shim reads them. Its type names stand alone, without the prefix that protobuf puts before them. */
export function anyOptions(options: RuncOptions | AnyMessage): Any {
  if (isAnyMessage(options)) return create(AnySchema, options)
  const value = toBinary(OptionsSchema, create(OptionsSchema, options))
  return create(AnySchema, { typeUrl: OptionsSchema.typeName, value })
}

/** How the runc shim has a task checkpointed. */
export interface CheckpointOptions {
  /** Whether its processes end with it. */
  exit: boolean
  openTcp: boolean
  externalUnixSockets: boolean
  fileLocks: boolean
  /** Directory for the log of CRIU, which is kept. */
  workPath: string
}

export function anyCheckpointOptions(options: CheckpointOptions): Any {
  const value = toBinary(CheckpointOptionsSchema, create(CheckpointOptionsSchema, options))
  return create(AnySchema, { typeUrl: CheckpointOptionsSchema.typeName, value })
}

/** A part of the OCI runtime spec, as containerd's typeurl package carries it. */
export function anyJson(typeUrl: string, value: object): Any {
  return create(AnySchema, { typeUrl, value: Buffer.from(specJson(value)) })
}
