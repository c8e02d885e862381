import { create, toBinary } from '@bufbuild/protobuf'
import { type Any, AnySchema } from '@bufbuild/protobuf/wkt'
import { specJson } from '../oci/spec/ulimits.ts'
import { OptionsSchema } from './gen/options_pb.ts'
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

export function isAnyMessage(options: RuncOptions | AnyMessage): options is AnyMessage {
  return 'typeUrl' in options
}

/** Options as a shim reads them. Its type names stand alone, without the prefix that protobuf puts before them. */
export function anyOptions(options: RuncOptions | AnyMessage): Any {
  if (isAnyMessage(options)) return create(AnySchema, options)
  const value = toBinary(OptionsSchema, create(OptionsSchema, options))
  return create(AnySchema, { typeUrl: OptionsSchema.typeName, value })
}

/** A part of the OCI runtime spec, as containerd's typeurl package carries it. */
export function anyJson(typeUrl: string, value: object): Any {
  return create(AnySchema, { typeUrl, value: Buffer.from(specJson(value)) })
}
