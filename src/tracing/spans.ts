import type { CommandEnvelope } from '../model/command.ts'
import type { SpanFailure, SpanStart } from './tracer.ts'

/**
 * What spans are called and which attributes they have, by OpenTelemetry's semantic conventions; our own begin with `purser.`
 *
 * @see opentelemetry.io, "Semantic conventions for HTTP spans", "Semantic conventions for messaging spans"
 */

/** BullMQ's queues are ours to name: the convention knows no name for it. */
const MESSAGING_SYSTEM = 'bullmq'

/** @param route as the OpenAPI document has it: `/v1/commands/{id}`; undefined for what is served nowhere */
export function serverSpan(method: string, route: string | undefined, path: string): SpanStart {
  return {
    name: route === undefined ? method : `${method} ${route}`,
    kind: 'server',
    attributes: {
      'http.request.method': method,
      'http.route': route,
      'url.path': path,
      'url.scheme': 'http',
      'network.transport': 'unix',
    },
  }
}

/** Without the query, which may hold a signature, and without credentials. */
export function clientSpan(method: string, url: URL): SpanStart {
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port)
  return {
    name: method,
    kind: 'client',
    attributes: {
      'http.request.method': method,
      'server.address': url.hostname,
      'server.port': port,
      'url.full': `${url.origin}${url.pathname}`,
    },
  }
}

/** @param from the status from which on it is a failure: 500 for a server, 400 for a client */
export const failureOfStatus = (status: number, from: 400 | 500): SpanFailure | undefined =>
  status >= from ? { type: String(status) } : undefined

/** A command is put into a worker's queue. */
export const sendSpan = (worker: string, command: CommandEnvelope): SpanStart =>
  messagingSpan('send', 'producer', worker, command)

/** A worker makes an attempt at a command, whichever way it came to it. */
export function processSpan(worker: string, command: CommandEnvelope, attempt: number): SpanStart {
  const span = messagingSpan('process', 'consumer', worker, command)
  return { ...span, attributes: { ...span.attributes, 'purser.attempt': attempt } }
}

function messagingSpan(
  operation: 'send' | 'process',
  kind: SpanStart['kind'],
  worker: string,
  { id, type, namespace, subject, correlationId }: CommandEnvelope,
): SpanStart {
  return {
    name: `${operation} ${worker}`,
    kind,
    attributes: {
      'messaging.system': MESSAGING_SYSTEM,
      'messaging.operation.name': operation,
      'messaging.operation.type': operation,
      'messaging.destination.name': worker,
      'messaging.message.id': id,
      'purser.command.type': type,
      'purser.correlation.id': correlationId,
      'purser.namespace': namespace,
      'purser.subject': subject,
    },
  }
}
