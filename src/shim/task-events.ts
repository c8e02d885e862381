import { type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf'
import { EmptySchema } from '@bufbuild/protobuf/wkt'
import type { Logger } from 'pino'
import { PurserError } from '../model/errors.ts'
import {
  TaskCheckpointedSchema,
  TaskCreateSchema,
  TaskDeleteSchema,
  TaskExecAddedSchema,
  TaskExecStartedSchema,
  TaskExitSchema,
  TaskOOMSchema,
  TaskPausedSchema,
  TaskResumedSchema,
  TaskStartSchema,
} from './gen/events_pb.ts'
import { Events } from './gen/events_ttrpc_pb.ts'
import { type Envelope, ForwardRequestSchema } from './gen/types_pb.ts'
import { formatTimestamp } from './timestamps.ts'
import { TtrpcServer } from './ttrpc-server.ts'

interface TaskEventSource {
  namespace: string
  containerId: string
  /** RFC 3339 with nanoseconds. */
  at: string | undefined
}

/** What a shim reports, by containerd's topics. `execId` is undefined for the task's first process. */
export type TaskEvent = TaskEventSource &
  (
    | { topic: '/tasks/create' | '/tasks/start'; pid: number }
    | {
        topic: '/tasks/exit' | '/tasks/delete'
        execId: string | undefined
        pid: number
        exitCode: number
        exitedAt: string | undefined
      }
    | { topic: '/tasks/exec-added'; execId: string }
    | { topic: '/tasks/exec-started'; execId: string; pid: number }
    | { topic: '/tasks/oom' | '/tasks/paused' | '/tasks/resumed' | '/tasks/checkpointed' }
  )

type TaskEventBody = TaskEvent extends infer E ? (E extends TaskEvent ? Omit<E, 'namespace' | 'at'> : never) : never

function reads<D extends DescMessage>(schema: D, view: (message: MessageShape<D>) => TaskEventBody) {
  return (bytes: Uint8Array): TaskEventBody => view(fromBinary(schema, bytes))
}

const readers: Readonly<Record<string, (bytes: Uint8Array) => TaskEventBody>> = {
  '/tasks/checkpointed': reads(TaskCheckpointedSchema, ({ containerId }) => ({
    topic: '/tasks/checkpointed',
    containerId,
  })),
  '/tasks/create': reads(TaskCreateSchema, ({ containerId, pid }) => ({ topic: '/tasks/create', containerId, pid })),
  '/tasks/delete': reads(TaskDeleteSchema, ({ containerId, id, pid, exitStatus, exitedAt }) => ({
    topic: '/tasks/delete',
    containerId,
    execId: execIdOf(containerId, id),
    pid,
    exitCode: exitStatus,
    exitedAt: formatTimestamp(exitedAt),
  })),
  '/tasks/exec-added': reads(TaskExecAddedSchema, ({ containerId, execId }) => ({
    topic: '/tasks/exec-added',
    containerId,
    execId,
  })),
  '/tasks/exec-started': reads(TaskExecStartedSchema, ({ containerId, execId, pid }) => ({
    topic: '/tasks/exec-started',
    containerId,
    execId,
    pid,
  })),
  '/tasks/exit': reads(TaskExitSchema, ({ containerId, id, pid, exitStatus, exitedAt }) => ({
    topic: '/tasks/exit',
    containerId,
    execId: execIdOf(containerId, id),
    pid,
    exitCode: exitStatus,
    exitedAt: formatTimestamp(exitedAt),
  })),
  '/tasks/oom': reads(TaskOOMSchema, ({ containerId }) => ({ topic: '/tasks/oom', containerId })),
  '/tasks/paused': reads(TaskPausedSchema, ({ containerId }) => ({ topic: '/tasks/paused', containerId })),
  '/tasks/resumed': reads(TaskResumedSchema, ({ containerId }) => ({ topic: '/tasks/resumed', containerId })),
  '/tasks/start': reads(TaskStartSchema, ({ containerId, pid }) => ({ topic: '/tasks/start', containerId, pid })),
}

/** A shim names the task's first process by the task's own id, or by nothing. */
const execIdOf = (containerId: string, id: string): string | undefined =>
  id === '' || id === containerId ? undefined : id

/**
 * An event in a shim's envelope.
 *
 * @returns undefined for a topic that is not about tasks
 */
export function taskEvent({ namespace, topic, timestamp, event }: Envelope): TaskEvent | undefined {
  const body = event && readers[topic]?.(event.value)
  return body && { ...body, namespace, at: formatTimestamp(timestamp) }
}

export interface TaskEventsConfig {
  /** Given to shims as their events address. */
  socketPath: string
  logger: Pick<Logger, 'debug'>
  /**
   * Gets each event at least once, in no certain order, or never: a shim that cannot reach us drops an event after some
   * 15 s. Ask `state` or `wait` for what matters. When this rejects, the shim sends the event again.
   */
  onEvent(event: TaskEvent): void | Promise<void>
}

/** Listens for what shims report. */
export function listenForTaskEvents({ socketPath, logger, onEvent }: TaskEventsConfig): Promise<TtrpcServer> {
  const forward = async (payload: Uint8Array): Promise<Uint8Array> => {
    const { envelope } = fromBinary(ForwardRequestSchema, payload)
    if (!envelope) throw new PurserError('invalid_argument', 'a shim forwards an event without an envelope')
    const event = taskEvent(envelope)
    if (event) await onEvent(event)
    else logger.debug({ topic: envelope.topic, namespace: envelope.namespace }, 'shim event not read')
    return toBinary(EmptySchema, { $typeName: 'google.protobuf.Empty' })
  }
  const methods = new Map([[`${Events.typeName}/${Events.method.forward.name}`, forward]])
  return TtrpcServer.listen(socketPath, methods)
}
